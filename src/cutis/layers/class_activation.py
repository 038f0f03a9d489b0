"""Grad-CAM++ of the predicted class in closed form: no backward pass, so the map is part of the exported graph.

SE-LCN, Sec. 2.2 and 4.1.2-4.1.3; Chattopadhay et al., "Grad-CAM++" (2018), Eq. 19. Two heads have a gradient that can
be written down, and every network here has one of them. With A the last feature map (N positions) and w the head's row
of the class: after "1x1 convolution, ReLU, global mean" (SqueezeNet) d score / d A_k(i,j) = w_k [z(i,j) > 0] / N, z the
class's map before the ReLU; after "global mean, linear" it is w_k / N everywhere.

The stabiliser EPSILON, the final ReLU and the min-max scaling are those of pytorch-grad-cam, which the authors used.
EPSILON is not small beside g^2 (w ~ 0.1 and N = 169 give 3e-7): it damps weak channels and belongs to the result. A
class whose logit is dead has no gradient: its map is all zero, never a division by zero.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Explained", "activation_after_convolution", "activation_after_mean"]

EPSILON = 1e-6
SCALE_EPSILON = 1e-7


class Explained(NamedTuple):
    """What a classifier answers and where it looked.

    `logits`: (B, K). `activation`: (B, 1, h, w) in [0, 1], Grad-CAM++ of the class of the largest logit, at the feature
    map's own resolution. `features`: (B, D), the last feature map, averaged over its positions.
    """

    logits: Tensor
    activation: Tensor
    features: Tensor


def activation_after_convolution(features: Tensor, scores: Tensor, weight: Tensor) -> Tensor:
    """Map of a head "1x1 convolution, ReLU, global mean" for the class of the largest mean.

    (B, C, h, w) features, (B, K, h, w) output of the convolution before its ReLU, (K, C[, 1, 1]) its weight
    -> (B, 1, h, w) in [0, 1]. A class is looked up by its score after the ReLU; if all are dead, the map is zero.

    >>> features = torch.tensor([[[[0.0, 1.0, 4.0]]]])
    >>> activation_after_convolution(features, 2 * features, torch.tensor([[2.0]]))
    tensor([[[[0.0000, 0.2500, 1.0000]]]])
    >>> activation_after_convolution(features, -2 * features, torch.tensor([[-2.0]]))
    tensor([[[[0., 0., 0.]]]])
    """
    z = scores.float()
    predicted = z.relu().mean((2, 3)).argmax(1)
    own = z.gather(1, predicted[:, None, None, None].expand(-1, 1, *z.shape[2:]))
    live = (own > 0).sum((2, 3)).float()
    return _map(features, weight.flatten(1)[predicted], live)


def activation_after_mean(features: Tensor, logits: Tensor, weight: Tensor) -> Tensor:
    """Map of a head "global mean, linear" for the class of the largest logit.

    (B, C, h, w) features, (B, K) logits, (K, C) weight of the linear layer -> (B, 1, h, w) in [0, 1].

    >>> features = torch.tensor([[[[0.0, 1.0, 4.0]], [[3.0, 0.0, 0.0]]]])
    >>> activation_after_mean(features, torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor([[[[0.0000, 0.2500, 1.0000]]]])
    """
    everywhere = torch.full_like(logits[:, :1], features.shape[2] * features.shape[3], dtype=torch.float32)
    return _map(features, weight[logits.argmax(1)], everywhere)


def _map(features: Tensor, weight: Tensor, live: Tensor) -> Tensor:
    """(B, C, h, w), (B, C) of the class, (B, 1) positions that have a gradient -> (B, 1, h, w) in [0, 1]."""
    a = features.float()
    g = weight.float() / (a.shape[2] * a.shape[3])
    alpha = g**2 / (2 * g**2 + a.sum((2, 3)) * g**3 + EPSILON)
    importance = live * g.relu() * alpha  # the same at every live position: their sum is a product
    grad_cam = (importance[:, :, None, None] * a).sum(1, keepdim=True).relu()
    raised = grad_cam - grad_cam.amin((2, 3), keepdim=True)
    return raised / (raised.amax((2, 3), keepdim=True) + SCALE_EPSILON)
