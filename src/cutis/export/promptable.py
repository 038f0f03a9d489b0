"""A promptable network as two files: the encoder runs once an image, the decoder once a prompt.

Both carry the same `cutis.pair`, a hash of the network's weights, so that no program joins halves of two networks. The
decoder takes `POINTS` points, of which a label of -1 means none, a box and a mask, of which `given` (0 or 1 each) says
whether they count. INT8 is judged by what it is for: how far the masks of one prompted image are from fp32's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cutis.export.onnx import TOLERANCE, Exported, Form, Normalise, Weights, describe, standardised, write_form
from cutis.export.parity import Answers, Feeds, Parity, answers, compare, open_session
from cutis.imaging.preprocessing import Preprocessing
from cutis.models.promptable import FINE, STRIDE, PromptableNet
from cutis.recipes.simulated_prompts import jittered, points_in, true_boxes
from cutis.teachers.base import fingerprint_of

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["POINTS", "Pair", "decoder_feeds", "export_promptable", "judge_decoder", "judge_encoder"]

POINTS = 8
_JITTER = 0.1


class Pair(NamedTuple):
    """The two files."""

    encoder: Exported
    decoder: Exported


def export_promptable(
    network: PromptableNet, preprocessing: Preprocessing, encoder: Path, decoder: Path, *, name: str, version: str,
    threshold: float, weights: Weights = "float32",
) -> Pair:  # fmt: skip
    """Write both files; raise a `CutisError` and write nothing if a graph answers differently from torch."""
    network = copy.deepcopy(network).cpu().float().eval()
    side = preprocessing.size // STRIDE
    facts = {"pair": fingerprint_of(network, preprocessing.model_dump_json()), "threshold": repr(float(threshold))}

    def encoded(feeds: Feeds) -> Answers:
        with torch.no_grad():
            return {"embedding": network.encode(standardised(feeds["image"], preprocessing)).numpy()}

    def unlike(found: Answers, wanted: Answers) -> dict[str, float]:
        spread = float(wanted["embedding"].std()) or 1.0
        return {"embeddings": float(np.abs(found["embedding"] - wanted["embedding"]).max()) / spread}

    size = preprocessing.size

    def said(part: str) -> dict[str, str]:
        return describe(preprocessing, task=f"prompt-{part}", name=name, version=version) | facts

    first = write_form(
        Form(
            _Encoder(network, preprocessing).eval(),
            {"image": torch.zeros(2, size, size, 3, dtype=torch.uint8)},
            ("embedding",), encoded, unlike, {"embeddings": 20 * TOLERANCE[weights]},
        ),
        encoder, weights=weights, facts=said("encoder"),
    )  # fmt: skip
    channels = encoded({"image": np.zeros((1, size, size, 3), np.uint8)})["embedding"].shape[1]
    module = _Decoder(network).eval()

    def decoded(feeds: Feeds) -> Answers:
        with torch.no_grad():
            logits, scores = module(*(torch.from_numpy(value) for value in feeds.values()))
        return {"logits": logits.numpy(), "scores": scores.numpy()}

    def probes(batch: int) -> Feeds:
        rng = np.random.default_rng(batch)
        embedding = rng.random((batch, channels, side, side), dtype=np.float32)
        masks = np.zeros((batch, 1, size, size), np.float32)
        masks[:, :, size // 4 : size // 2, size // 8 : size // 2] = 1
        feeds = decoder_feeds(embedding, torch.from_numpy(masks), seed=batch)
        return feeds | {"given": rng.integers(0, 2, (batch, 2)).astype(np.float32)}

    second = write_form(
        Form(
            module,
            {key: torch.from_numpy(value) for key, value in probes(2).items()},
            ("logits", "scores"), decoded, _decoder_differences,
            {"probabilities": TOLERANCE[weights], "scores": TOLERANCE[weights]}, probes,
        ),
        decoder, weights=weights, facts=said("decoder"),
    )  # fmt: skip
    return Pair(first, second)


def decoder_feeds(embedding: NDArray[np.float32], masks: Tensor, seed: int) -> dict[str, NDArray[np.float32]]:
    """(N, K, h, w) embeddings and (N, 1, S, S) true masks -> prompts of every kind, by the names of the file's inputs:
    by turns a box that is off, points, both, and a coarse mask with a point."""
    rng, count, size = torch.Generator().manual_seed(seed), len(masks), masks.shape[-1]
    turn = torch.arange(count) % 4
    boxes = jittered(true_boxes(masks), _JITTER, size, rng)
    inside, there = points_in(masks > 0.5, POINTS - 1, rng)
    beside, free = points_in(masks <= 0.5, 1, rng)
    labels = torch.full((count, POINTS), -1.0)
    labels[:, :-1][there & (turn > 0)[:, None] & (torch.rand(there.shape, generator=rng) < 0.5)] = 1
    labels[:, -1:][free & (turn > 0)[:, None]] = 0
    coarse = nn.functional.avg_pool2d(masks, STRIDE).repeat_interleave(FINE, 2).repeat_interleave(FINE, 3) * 12 - 6
    given = torch.stack([(turn == 0) | (turn == 2), turn == 3], 1).float()
    parts = {"points": torch.cat([inside, beside], 1), "labels": labels, "box": boxes, "mask": coarse, "given": given}
    return {"embedding": embedding} | {name: part.numpy().astype(np.float32) for name, part in parts.items()}


def judge_encoder(
    encoder: Path, decoder: Path, prompts: Feeds, threshold: float
) -> Callable[[onnxruntime.InferenceSession, Feeds], Parity]:
    """A candidate encoder's loss: masks of the fp32 decoder from its embeddings against those from fp32's."""
    reference, last = open_session(encoder), open_session(decoder)

    def loss(session: onnxruntime.InferenceSession, feeds: Feeds) -> Parity:
        here, there = (_probabilities(last, {**prompts, **answers(one, feeds)}) for one in (reference, session))
        return compare(here, there, threshold)

    return loss


def judge_decoder(decoder: Path, threshold: float) -> Callable[[onnxruntime.InferenceSession, Feeds], Parity]:
    """A candidate decoder's loss: its masks against fp32's, to the same prompts."""
    reference = open_session(decoder)
    return lambda session, feeds: compare(
        _probabilities(reference, feeds), _probabilities(session, feeds), threshold
    )  # fmt: skip


def _probabilities(session: onnxruntime.InferenceSession, feeds: Feeds) -> NDArray[np.float32]:
    """(N, 3, h, w): all three masks."""
    return 1 / (1 + np.exp(-answers(session, feeds)["logits"]))


def _decoder_differences(found: Answers, wanted: Answers) -> dict[str, float]:
    one, other = (1 / (1 + np.exp(-side["logits"])) for side in (found, wanted))
    return {
        "probabilities": float(np.abs(one - other).max()),
        "scores": float(np.abs(found["scores"] - wanted["scores"]).max()),
    }


class _Encoder(nn.Module):
    def __init__(self, network: PromptableNet, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network, self.normalise = network, Normalise(preprocessing)

    def forward(self, image: Tensor) -> Tensor:
        return self.network.encode(self.normalise(image))


class _Decoder(nn.Module):
    def __init__(self, network: PromptableNet) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, embedding: Tensor, points: Tensor, labels: Tensor, box: Tensor, mask: Tensor, given: Tensor
    ) -> tuple[Tensor, Tensor]:
        said = self.network.decode(embedding, points, labels, box, mask, given)
        return said.logits, said.scores
