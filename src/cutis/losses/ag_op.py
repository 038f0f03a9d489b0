"""AG-OP: where two teachers agree and see it differently, the student learns what each has and the other has not.

SparseSegNet, Sec. 3.3, Eq. 7-10. Differs from the text in two points: the sum of Eq. 10 is a mean over the map's
pixels, or its weight would depend on the size of the image; and a pixel where a teacher has no embedding (zero: outside
the picture) is never in the map, since its cosine is not defined. As in the paper a negative cosine counts as low.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cutis.data.taught_batches import Taught
from cutis.errors import CutisError

__all__ = ["AgOp", "ag_op", "agreement_map", "orthogonal"]


class AgOp(NamedTuple):
    """`loss` (Eq. 10), and what tells whether it does anything, all scalars: the `share` of the pixels with both
    embeddings that are in the map, and means over those pixels: the teachers' `cosine`, the lengths of the teachers'
    and the student's embeddings."""

    loss: Tensor
    share: Tensor
    cosine: Tensor
    first_norm: Tensor
    second_norm: Tensor
    student_norm: Tensor


def ag_op(student: Tensor, first: Taught, second: Taught, *, probability: float, cosine: float) -> AgOp:
    """(B, C, h, w) of the student and what two teachers say of the same pixels -> Eq. 10 and its diagnostics.

    `probability` is the paper's epsilon, `cosine` its tau. An empty map gives 0, with a gradient of 0. Embeddings of
    another shape than the student's raise CutisError.

    >>> logits = torch.zeros(1, 1, 1, 1)
    >>> first, second = (Taught(logits, torch.tensor(v).view(1, 2, 1, 1)) for v in ([2.0, 0.0], [0.0, 1.0]))
    >>> found = ag_op(torch.tensor([1.0, 0.0]).view(1, 2, 1, 1), first, second, probability=0.05, cosine=0.4)
    >>> found.loss, found.share
    (tensor(3.), tensor(1.))
    """
    for name, teacher in (("first", first), ("second", second)):
        if teacher.embedding.shape != student.shape:
            raise CutisError(
                f"the {name} teacher's embedding is {tuple(teacher.embedding.shape)}, the student's "
                f"{tuple(student.shape)}: give caches of as many channels as the student is projected to"
            )
    wide = torch.promote_types(student.dtype, torch.float32)  # float16 would not hold the squares
    F_s, F_b, F_c = student.to(wide), first.embedding.to(wide), second.embedding.to(wide)
    dam = agreement_map(first, second, probability=probability, cosine=cosine)
    distance = (F_s - orthogonal(F_b, F_c)).square().sum(1) + (F_s - orthogonal(F_c, F_b)).square().sum(1)
    loss = distance.where(dam, 0).sum() / dam.sum().clamp(min=1)

    there, alike = _seen(F_b, F_c)
    count = there.sum().clamp(min=1)
    norms = [(F.detach().norm(dim=1) * there).sum() / count for F in (F_b, F_c, F_s)]
    return AgOp(loss, dam.sum() / count, (alike * there).sum() / count, *norms)


def agreement_map(first: Taught, second: Taught, *, probability: float, cosine: float) -> Tensor:
    """What two teachers say -> (B, h, w) bool: Eq. 7, the dynamic agreement map."""
    delta_p = (first.logits.float().sigmoid() - second.logits.float().sigmoid()).abs().squeeze(1)
    there, delta_f = _seen(first.embedding, second.embedding)
    return there & (delta_p < probability) & (delta_f < cosine)


def orthogonal(embedding: Tensor, other: Tensor) -> Tensor:
    """(B, C, h, w), twice -> the part of `embedding` orthogonal to `other`, pixel by pixel (Eq. 8, and 9).

    >>> orthogonal(torch.tensor([3.0, 4.0]).view(1, 2, 1, 1), torch.tensor([0.0, 2.0]).view(1, 2, 1, 1)).flatten()
    tensor([3., 0.])
    """
    square = other.square().sum(1, keepdim=True)
    along = (embedding * other).sum(1, keepdim=True) / square.where(square > 0, 1)
    return embedding - along * other


def _seen(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """(B, h, w) bool, where both have an embedding, and (B, h, w), its cosine; 0 elsewhere."""
    first, second = (e.to(torch.promote_types(e.dtype, torch.float32)) for e in (first, second))
    lengths = first.norm(dim=1) * second.norm(dim=1)
    there = lengths > 0
    return there, ((first * second).sum(1) / lengths.where(there, 1)).where(there, 0)
