"""SLSNet's losses: adversarial cross-entropy, L1 and the Jaccard loss with squares.

SLSNet, Sec. 3.4, Eq. 7-11. Discriminator logits come in, the sigmoid of Sec. 3.3 is inside: -log D and -log(1 - D) are
then exact where a sigmoid would have rounded to 0 or 1. A patch discriminator's patches count alike. Masks are
probabilities, not logits, since the discriminator sees them too.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["discriminator_loss", "generator_loss", "jaccard_gradient", "jaccard_loss", "l1_loss"]


def generator_loss(fake: Tensor) -> Tensor:
    """Logits (B, 1, h, w) of D(x, G(x, z)) -> (B,): -log D, the first term of Eq. 7.

    >>> generator_loss(torch.zeros(1, 1, 2, 2))
    tensor([0.6931])
    """
    return F.softplus(-_exact(fake)).flatten(1).mean(1)


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Logits (B, 1, h, w) of D(x, y) and of D(x, G(x, z)) -> scalar: Eq. 11, -log D of the one and -log(1 - D) of the
    other, each a mean over its images.

    >>> discriminator_loss(torch.zeros(1, 1, 2, 2), torch.zeros(3, 1, 2, 2))
    tensor(1.3863)
    """
    return F.softplus(-_exact(real)).mean() + F.softplus(_exact(fake)).mean()


def l1_loss(probability: Tensor, mask: Tensor) -> Tensor:
    """(B, 1, H, W) twice -> (B,): the second term of Eq. 7, the mean distance of a pixel.

    >>> l1_loss(torch.tensor([[[[0.5, 1.0]]]]), torch.tensor([[[[1.0, 1.0]]]]))
    tensor([0.2500])
    """
    return (_exact(probability) - mask).abs().flatten(1).mean(1)


def jaccard_loss(probability: Tensor, mask: Tensor) -> Tensor:
    """(B, 1, H, W) twice -> (B,): Eq. 9, 1 - gp / (g^2 + p^2 - gp), summed over the image; two empty masks: 0.

    >>> jaccard_loss(torch.tensor([[[[0.5, 1.0]]]]), torch.tensor([[[[1.0, 1.0]]]]))
    tensor([0.1429])
    """
    p, g = _exact(probability).flatten(1), mask.flatten(1)
    shared = (p * g).sum(1)
    whole = (g * g).sum(1) + (p * p).sum(1) - shared
    return torch.where(whole > 0, 1 - shared / whole.clamp(min=torch.finfo(p.dtype).tiny), p.sum(1))


def jaccard_gradient(probability: Tensor, mask: Tensor) -> Tensor:
    """(B, 1, H, W) twice -> (B, 1, H, W): Eq. 10, the derivative of the Jaccard loss by each pixel's probability.

    Training lets autograd find it; this is the equation as it is printed, which the tests compare with it.
    """
    p, g = probability, mask
    shared = (p * g).sum((1, 2, 3), keepdim=True)
    whole = (g * g).sum((1, 2, 3), keepdim=True) + (p * p).sum((1, 2, 3), keepdim=True) - shared
    return -g * whole / whole**2 + (2 * p - g) * shared / whole**2


def _exact(x: Tensor) -> Tensor:
    """At least float32: 16-bit sums over an image's pixels lose what the loss is about."""
    return x if x.dtype == torch.float64 else x.float()
