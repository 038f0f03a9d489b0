"""A small promptable network: what an image holds is computed once, and a light decoder answers prompts with masks.

Knowledge mining, Sec. 2.2 (SAM's three parts), as cutis' own stand-in where SAM's weights are not to be had, and for
phones: about 2.3 M parameters, 256 pixels. Differs from SAM: prompts are not tokens that attend to the image, but are
drawn onto the embedding's grid (points as two Gaussian bumps each, the box as its signed distance, the mask as it is),
as is usual for clicks (Sofiiuk et al., "Reviving iterative training with mask guidance for interactive segmentation",
2021), so that the decoder is convolutions alone: it learns in minutes and quantises well. As in SAM there are three
masks and an estimate of each one's IoU.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cutis.registry import models

__all__ = ["STRIDE", "Masks", "PromptableNet", "drawn_prompts", "promptable"]

STRIDE = 8  # pixels of the image a cell of the embedding
FINE = 4  # cells of the answers' masks, and of a mask that prompts, a cell of the embedding
_SIGMAS = (0.03, 0.12)  # of a point's bumps, in shares of the square's side
_REACH = (0.03, 0.25)  # where the box's signed distance ends, likewise
_DRAWN = 2 * len(_SIGMAS) + len(_REACH) + 1 + FINE**2 + 1


class Masks(NamedTuple):
    """`logits` (B, 3, 4 h, 4 w) for an embedding of (h, w) cells; `scores` (B, 3) in [0, 1], estimates of the IoU."""

    logits: Tensor
    scores: Tensor


class PromptableNet(nn.Module):
    """`encode` an image once, `decode` for any number of prompts; called as it is, the box is the whole square.

    >>> network = PromptableNet("tu-mobilenetv2_035", 16).eval()
    >>> embedding = network.encode(torch.zeros(1, 3, 64, 64))
    >>> embedding.shape
    torch.Size([1, 16, 8, 8])
    >>> points, labels = torch.tensor([[[31.0, 20.0]]]), torch.tensor([[1]])
    >>> masks = network.decode(embedding, points, labels)
    >>> masks.logits.shape, masks.scores.shape
    (torch.Size([1, 3, 32, 32]), torch.Size([1, 3]))
    """

    def __init__(self, encoder: str, width: int) -> None:
        super().__init__()
        import segmentation_models_pytorch as smp

        self.encoder = smp.encoders.get_encoder(encoder, in_channels=3, depth=5, weights=None)
        fine, *coarse = self.encoder.out_channels[2:]
        self.fine = _conv(fine, width, stride=2)
        self.lateral = nn.ModuleList([_conv(channels, width, kernel=1) for channels in coarse])
        self.merged = _conv(width, width)
        self.decoder = MaskDecoder(width)

    def encode(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) normalised RGB, S a multiple of 32 -> (B, width, S / 8, S / 8)."""
        fine, *coarse = self.encoder(image)[2:]
        maps = [lateral(x) for lateral, x in zip(self.lateral, coarse, strict=True)]
        top = maps[-1]
        for below in reversed(maps[:-1]):
            top = below + F.interpolate(top, scale_factor=2.0, mode="nearest")
        return self.merged(top + self.fine(fine))

    def decode(
        self,
        embedding: Tensor,
        points: Tensor,
        labels: Tensor,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        given: Tensor | None = None,
    ) -> Masks:
        """As `Prompts` in teachers/promptable.py. `given` (B, 2) bool: whether an image's box and its mask count."""
        return self.decoder(embedding, drawn_prompts(points, labels, boxes, masks, given, embedding.shape[-1]))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 1, S, S) logits of the best mask of what is in the whole square."""
        count, side = len(image), image.shape[-1]
        whole = torch.tensor([[0.0, 0.0, side - 1.0, side - 1.0]], device=image.device).expand(count, 4)
        none = torch.zeros(count, 0, device=image.device)
        said = self.decode(self.encode(image), none.unsqueeze(-1).expand(count, 0, 2), none, whole)
        which = said.scores.argmax(1).view(-1, 1, 1, 1).expand(-1, 1, *said.logits.shape[2:])
        return F.interpolate(said.logits.gather(1, which), (side, side), mode="bilinear", align_corners=False)


class MaskDecoder(nn.Module):
    """The embedding and the drawn prompts -> three masks and their scores."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.joined = _conv(width + _DRAWN, width)
        self.blocks = nn.ModuleList([_conv(width, width, dilation=dilation) for dilation in (1, 2, 4, 8, 1)])
        half = width // 2
        self.up = nn.Sequential(_conv(width, 4 * half, kernel=1), nn.PixelShuffle(2), _conv(half, half))
        self.masks = nn.Sequential(nn.Conv2d(half, 3 * 4, 1), nn.PixelShuffle(2))
        self.score = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, embedding: Tensor, prompts: Tensor) -> Masks:
        x = self.joined(torch.cat([embedding, prompts.to(embedding.dtype)], 1))
        for block in self.blocks:
            x = x + block(x)
        logits = self.masks(self.up(x))
        return Masks(logits, self._scores(x, logits))

    def _scores(self, x: Tensor, logits: Tensor) -> Tensor:
        """From the features' mean over each mask beside that over the square; masks learn nothing from it."""
        cells = x.flatten(2).transpose(1, 2)  # (B, cells, width)
        weights = F.avg_pool2d(logits.detach().sigmoid(), FINE).flatten(2).to(cells.dtype)  # (B, 3, cells)
        within = weights @ cells / (weights.sum(-1, keepdim=True) + 1)
        whole = cells.mean(1, keepdim=True).expand_as(within)
        return self.score(torch.cat([within, whole], -1)).squeeze(-1).sigmoid()


def drawn_prompts(
    points: Tensor, labels: Tensor, boxes: Tensor | None, masks: Tensor | None, given: Tensor | None, cells: int
) -> Tensor:
    """Prompts of a square of 8 x `cells` pixels -> (B, 24, cells, cells) float32, each value from -1 to 1.

    >>> box = torch.tensor([[8.0, 8.0, 23.0, 23.0]])
    >>> drawn = drawn_prompts(torch.zeros(1, 0, 2), torch.zeros(1, 0), box, None, None, 4)
    >>> drawn[0, 4].sign().int().tolist()  # inside the box
    [[-1, -1, -1, -1], [-1, 1, 1, -1], [-1, 1, 1, -1], [-1, -1, -1, -1]]
    """
    count, side = points.shape[0], cells * STRIDE  # not len: the exporter would fix it
    if given is None:
        said = torch.tensor([[boxes is not None, masks is not None]], device=points.device)
        given = said.expand(count, 2)
    counts = given.to(points.dtype).view(count, 2, 1, 1)
    middles = (torch.arange(cells, device=points.device, dtype=points.dtype) + 0.5) * STRIDE - 0.5
    one = torch.ones(count, 1, cells, cells, dtype=points.dtype, device=points.device)

    def nothing(channels: int) -> Tensor:
        return torch.zeros_like(one).expand(-1, channels, -1, -1)

    return torch.cat(
        [
            _bumps(points, labels, middles, side),
            nothing(len(_REACH)) if boxes is None else _within(boxes, middles, side) * counts[:, :1],
            one * counts[:, :1],
            nothing(FINE**2) if masks is None else _unfolded(masks, cells) * counts[:, 1:],
            one * counts[:, 1:],
        ],
        1,
    )  # fmt: skip


def _bumps(points: Tensor, labels: Tensor, middles: Tensor, side: int) -> Tensor:
    """(B, 4, cells, cells): near a point on the lesion 1, far from all 0, at both widths; then points that are not."""
    if not points.shape[1]:
        return points.new_zeros(len(points), 2 * len(_SIGMAS), len(middles), len(middles))
    x, y = ((points[..., axis, None] - middles) / side for axis in (0, 1))  # (B, P, cells)
    squared = y.square().unsqueeze(-1) + x.square().unsqueeze(-2)
    drawn = []
    for label in (1, 0):
        counts = (labels == label).to(points.dtype)[..., None, None]
        drawn += [((-squared / (2 * sigma**2)).exp() * counts).amax(1) for sigma in _SIGMAS]
    return torch.stack(drawn, 1)


def _within(boxes: Tensor, middles: Tensor, side: int) -> Tensor:
    """(B, 2, cells, cells): signed distance to the box, positive inside, cut off at both reaches; from -1 to 1."""
    low, high = boxes[:, :2, None] - 0.5, boxes[:, 2:, None] + 0.5
    inner = torch.minimum(middles - low, high - middles) / side  # (B, 2, cells): along x, along y
    distance = torch.minimum(inner[:, 1].unsqueeze(-1), inner[:, 0].unsqueeze(-2))
    return torch.stack([(distance / reach).clamp(-1, 1) for reach in _REACH], 1)


def _unfolded(masks: Tensor, cells: int) -> Tensor:
    """(B, 16, cells, cells): from -1 (surely not lesion) to 1, each cell's 4 x 4 values side by side."""
    fine = cells * FINE
    if masks.shape[-1] != fine:
        masks = F.interpolate(masks.float(), (fine, fine), mode="bilinear", antialias=True)
    return F.pixel_unshuffle((masks.float() / 2).tanh(), FINE)


def _conv(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


@models.register("promptable")
def promptable(encoder: str = "tu-mobilenetv2_100", width: int = 64) -> PromptableNet:
    """The promptable network; `encoder` as segmentation-models-pytorch names it."""
    return PromptableNet(encoder, width)
