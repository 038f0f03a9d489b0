"""L_PADD (perturb and distil): the answer to a moved image must be the answer to the image, moved.

SparseSegNet, Sec. 3.4: KL(sigmoid(f(T(I))), sigmoid(f(I))) for random affine T. Differs from the text, which compares
pixels that do not show the same place, in that f(I) is moved by the same T; it is the target and gets no gradient.
Only pixels inside both frames count. The divergence is that of Bernoulli variables, pixel by pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["bernoulli_divergence", "move", "padd_loss", "random_affine"]


def padd_loss(
    network: Callable[[Tensor], Tensor],
    image: Tensor,
    logits: Tensor,
    rng: np.random.Generator,
    *,
    rotation_degrees: float,
    zoom: tuple[float, float],
    shift: float,
) -> Tensor:
    """(B, C, H, W) image, (B, 1, H, W) logits = network(image) -> (B,), the mean over pixels inside both frames.

    One T an image, as `random_affine` draws it. 0 where no pixel is inside both.

    >>> blur = torch.nn.AvgPool2d(3, 1, 1)  # turns with the image, but knows its frame
    >>> image = torch.linspace(0, 1, 64).view(1, 1, 8, 8)
    >>> loss = padd_loss(blur, image, blur(image), np.random.default_rng(0), rotation_degrees=90, zoom=(1, 1), shift=0)
    >>> loss.shape, bool(loss < 0.01)
    (torch.Size([1]), True)
    """
    matrix = random_affine(len(image), rng, rotation_degrees=rotation_degrees, zoom=zoom, shift=shift)
    moved, _ = move(image, matrix)
    target, inside = move(logits.detach(), matrix)
    divergence = bernoulli_divergence(network(moved), target)
    return (divergence * inside).flatten(1).sum(1) / inside.flatten(1).sum(1).clamp(min=1)


def bernoulli_divergence(logits: Tensor, target: Tensor) -> Tensor:
    """KL(sigmoid(logits) || sigmoid(target)), elementwise and never negative.

    >>> bernoulli_divergence(torch.tensor([0.0, 2.0]), torch.tensor([0.0, 0.0])).round(decimals=4)
    tensor([0.0000, 0.3278])
    """
    p, q = logits.float(), target.float()
    lesion = F.logsigmoid(p) - F.logsigmoid(q)
    skin = F.logsigmoid(-p) - F.logsigmoid(-q)
    return p.sigmoid() * lesion + (-p).sigmoid() * skin


def random_affine(
    count: int, rng: np.random.Generator, *, rotation_degrees: float, zoom: tuple[float, float], shift: float
) -> Tensor:
    """(count, 2, 3) float32: from a place in the moved frame to the place it shows, both in -1 to 1 over the frame.

    A rotation by up to `rotation_degrees` either way, a factor log-uniform between both of `zoom`, and a move by up to
    `shift` of the frame along each axis, about the frame's centre.
    """
    angle = np.radians(rng.uniform(-rotation_degrees, rotation_degrees, count))
    scale = np.exp(-rng.uniform(math.log(zoom[0]), math.log(zoom[1]), count))  # shown larger: looks at less
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    away = rng.uniform(-2 * shift, 2 * shift, (2, count))
    rows = [[cosine, -sine, away[0]], [sine, cosine, away[1]]]
    return torch.from_numpy(np.array(rows, np.float32).transpose(2, 0, 1))


def move(maps: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C, H, W), H = W, and (B, 2, 3) as `random_affine` gives them -> the moved maps, 0 where they show nothing,
    and (B, 1, H, W) bool: which pixels show a place inside the frame."""
    grid = F.affine_grid(matrix.to(maps.device), [len(maps), 1, *maps.shape[2:]], align_corners=False)
    last = 1 - 1 / torch.tensor(maps.shape[:1:-1], device=maps.device)  # centres of the outermost pixels: x, then y
    inside = (grid.abs() <= last + 1e-4).all(-1)[:, None]
    return F.grid_sample(maps.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False), inside
