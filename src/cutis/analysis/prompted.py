"""A mask corrected by a person, or refined by another network: boxes and points to the exported promptable model.

Knowledge mining, Sec. 1 and 2.3 (the small network alone, or refined: points and outer box of its own prediction are
the prompts). No torch: the promptable's two files, as `cutis export` wrote them. The small network's mask goes along as
a mask prompt where a person gives points alone, since those correct it; a person's box stands for itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cutis.analysis.model_file import Metadata, ModelFile, check_tensors, open_model, resident, shape_of
from cutis.analysis.runtimes import DEFAULT_RUNTIME
from cutis.errors import CutisError
from cutis.imaging.frame import Frame
from cutis.records import Refinement

__all__ = [
    "DEFAULT_PROMPTABLE",
    "Correction",
    "PromptableModel",
    "correction_of",
    "load_promptable_model",
    "parse_box",
    "parse_point",
]

DEFAULT_PROMPTABLE = "promptable-encoder-int8"
_OWN_POINTS = 5  # of the network's prediction, as its training by mining takes
_LARGEST_LOGIT = 8.0
_FIT, _LOOSE = 0.5, 0.15  # what a person's box is worth beside the network's own estimate, and how far off it may be

Point = tuple[float, float]
Box = tuple[float, float, float, float]


class _Metadata(Metadata):
    pair: str = Field(min_length=1)
    threshold: float = Field(gt=0, lt=1)


class _Half:
    task: str

    def __init__(self, file: ModelFile) -> None:
        self.info, self.facts, self.session = open_model(file, self.task, _Metadata)
        self.source = file.source


class _Encoder(_Half):
    task = "prompt-encoder"


class _Decoder(_Half):
    task = "prompt-decoder"


class PromptableModel:
    """Encoder and decoder of one network; `info` is the encoder's, `decoder_info` the other's."""

    def __init__(self, encoder: _Half, decoder: _Half) -> None:
        if encoder.facts.pair != decoder.facts.pair:
            raise CutisError(
                f"{encoder.source} and {decoder.source} are halves of different networks: export both again"
            )
        self.info, self.decoder_info = encoder.info, decoder.info
        self.preprocessing = encoder.facts.preprocessing
        self._encoder, self._decoder = encoder.session, decoder.session
        size = self.preprocessing.size
        embedding = shape_of(encoder.session, "embedding")
        check_tensors(
            encoder.session,
            [("image", "tensor(uint8)", [size, size, 3]), ("embedding", "tensor(float)", embedding)],
            encoder.source,
        )
        points, mask = shape_of(decoder.session, "points"), shape_of(decoder.session, "mask")
        shapes: dict[str, Sequence[int | str | None]] = {
            "embedding": embedding,
            "points": points,
            "labels": points[:1],
            "box": [4],
            "mask": mask,
            "given": [2],
        }
        tensors: dict[str, Sequence[int | str | None]] = {**shapes, "logits": [3, *mask[1:]], "scores": [3]}
        check_tensors(
            decoder.session, [(name, "tensor(float)", shape) for name, shape in tensors.items()], decoder.source
        )
        self.points, self.mask_side = int(str(points[0])), int(str(mask[-1]))

    def answer(
        self, square: NDArray[np.uint8], box: Box | None, points: list[tuple[float, float, bool]],
        mask: NDArray[np.float32] | None, *, trusted: bool = False,
    ) -> tuple[NDArray[np.float32], float]:  # fmt: skip
        """Prompts in pixels of the square (S, S, 3) uint8; `mask` (S, S) probability -> the best mask's probability
        (S, S), and the model's own estimate of its IoU.

        Of its masks that counts which it thinks best of; with a `trusted` box, how well each mask fills it counts half.
        """
        at = np.zeros((1, self.points, 2), np.float32)
        labels = np.full((1, self.points), -1, np.float32)
        for place, (x, y, on) in enumerate(points):
            at[0, place], labels[0, place] = (x, y), float(on)
        coarse = np.zeros((1, 1, self.mask_side, self.mask_side), np.float32)
        if mask is not None:
            small = cv2.resize(mask, (self.mask_side, self.mask_side), interpolation=cv2.INTER_AREA)
            small = small.clip(1e-4, 1 - 1e-4)
            coarse[0, 0] = np.log(small / (1 - small)).clip(-_LARGEST_LOGIT, _LARGEST_LOGIT)
        given = np.array([[box is not None, mask is not None]], np.float32)
        boxes = np.array([box or (0, 0, 0, 0)], np.float32)
        logits, scores = self.decode(self.encode(square[None]), at, labels, boxes, coarse, given)
        size = self.preprocessing.size
        fits = _fits(logits[0] > 0, box, size) if box and trusted else 0
        best = int((scores[0] + _FIT * fits).argmax())
        whole = cv2.resize(logits[0, best], (size, size), interpolation=cv2.INTER_LINEAR)
        return (1 / (1 + np.exp(-whole))).astype(np.float32), float(scores[0, best])

    def encode(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, S, S, 3) uint8 RGB, preprocessed -> (N, K, h, w), all that `decode` needs of them."""
        (embedding,) = self._encoder.run(["embedding"], {"image": squares})
        return np.asarray(embedding)

    def decode(
        self, embedding: NDArray[np.float32], points: NDArray[np.float32], labels: NDArray[np.float32],
        box: NDArray[np.float32], mask: NDArray[np.float32], given: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
        """The decoder's file: `points` (N, `self.points`, 2) and `labels` (1 on it, 0 beside it, -1 none), `box`
        (N, 4), `mask` (N, 1, m, m) logits with m `mask_side`, `given` (N, 2) whether box and mask count -> (N, 3, m, m)
        logits and (N, 3) scores."""
        feeds = {"embedding": embedding, "points": points, "labels": labels, "box": box, "mask": mask, "given": given}
        logits, scores = self._decoder.run(["logits", "scores"], feeds)
        return np.asarray(logits), np.asarray(scores)


@dataclass(frozen=True)
class Correction:
    """What is asked of every image: `box` and points in pixels of the picture as a person sees it; with `refine`, where
    a person says nothing, the outer box and the surest points of the network's own mask."""

    model: PromptableModel
    box: Box | None = None
    points: tuple[Point, ...] = ()
    not_points: tuple[Point, ...] = ()
    refine: bool = False

    def __post_init__(self) -> None:
        count = len(self.points) + len(self.not_points)
        if count > self.model.points:
            raise CutisError(
                f"{count} points are given, {self.model.info.name} takes {self.model.points}: leave some out"
            )

    @property
    def asked(self) -> dict[str, object]:
        """The same for run.json."""
        points = {"points": self.points, "not_points": self.not_points}
        return {
            "model": self.model.info.sha256, "refine": self.refine, "box": self.box and list(self.box),
            **{name: [list(point) for point in some] for name, some in points.items()},
        }  # fmt: skip

    @property
    def by_person(self) -> bool:
        return bool(self.box or self.points or self.not_points)

    def apply(
        self, pixels: NDArray[np.uint8], frame: Frame, own: NDArray[np.float32], size: tuple[int, int], threshold: float
    ) -> tuple[NDArray[np.float32], Refinement | None]:
        """`own` (S, S), the network's probability over `frame` of `pixels`; `size` (width, height) of the whole picture
        -> the same corrected, and what the record says; as it was where there was nothing to prompt with."""
        self._check(size)
        square, frame_here = self.model.preprocessing.apply(pixels)
        here = _moved(own, frame, frame_here)
        sx, sy = frame_here.inner_width / size[0], frame_here.inner_height / size[1]

        def to_square(x: float, y: float) -> Point:
            return frame_here.left + (x + 0.5) * sx - 0.5, frame_here.top + (y + 0.5) * sy - 0.5

        def to_picture(x: float, y: float) -> Point:
            return round((x + 0.5 - frame_here.left) / sx - 0.5, 1), round((y + 0.5 - frame_here.top) / sy - 0.5, 1)

        if self.by_person:
            box = None if self.box is None else (*to_square(*self.box[:2]), *to_square(*self.box[2:]))
            points = [(*to_square(*p), True) for p in self.points] + [(*to_square(*p), False) for p in self.not_points]
            mask = here if box is None and (here > threshold).any() else None
        else:
            found = here > threshold
            if not found.any():
                return own, None
            left, top, width, height = cv2.boundingRect(found.astype(np.uint8))
            box, mask = (left, top, left + width - 1, top + height - 1), None
            points = [(x, y, True) for x, y in _surest(here, _OWN_POINTS)]
        answer, score = self.model.answer(square, box, points, mask, trusted=self.by_person)
        if self.by_person and box is not None:
            answer = _inside(answer, box)
        told = Refinement(
            model=self.model.info,
            asked_by="person" if self.by_person else "network",
            box=None if box is None else (*to_picture(*box[:2]), *to_picture(*box[2:])),
            points=[(*to_picture(x, y), on) for x, y, on in points],
            score=round(score, 4),
        )
        return _moved(answer, frame_here, frame), told

    def _check(self, size: tuple[int, int]) -> None:
        """Prompts lie in the picture."""
        width, height = size
        corners = [self.box[:2], self.box[2:]] if self.box else []
        for what, points in (("box", corners), ("point", self.points), ("point", self.not_points)):
            for x, y in points:
                if not (0 <= x <= width - 1 and 0 <= y <= height - 1):
                    raise CutisError(
                        f"the {what} reaches {x:g},{y:g}, outside the picture of {width} x {height} pixels: give x "
                        f"from 0 to {width - 1} and y from 0 to {height - 1}"
                    )


def load_promptable_model(
    model: str | os.PathLike[str] | None = None, *, runtime: str = DEFAULT_RUNTIME
) -> PromptableModel:
    """Open a promptable that comes with cutis or that cutis exported, by its encoder's name or file; the decoder is the
    one whose name says so.

    >>> load_promptable_model("nothing.onnx")
    Traceback (most recent call last):
    cutis.errors.CutisError: nothing.onnx is no promptable model: give the encoder's file (...-encoder-int8.onnx), the \
decoder's beside it
    """
    wanted = os.fspath(model or DEFAULT_PROMPTABLE)
    name = Path(wanted).name
    if "encoder" not in name:
        raise CutisError(
            f"{wanted} is no promptable model: give the encoder's file (...-encoder-int8.onnx), the decoder's beside it"
        )
    other = wanted[: len(wanted) - len(name)] + name.replace("encoder", "decoder")
    encoder = resident(wanted, 1, _Encoder.task, _Encoder, runtime)
    return PromptableModel(encoder, resident(other, 1, _Decoder.task, _Decoder, runtime))


def correction_of(
    box: Sequence[float] | None, points: Sequence[Sequence[float]], not_points: Sequence[Sequence[float]],
    refine: str | os.PathLike[str] | bool | None, *, runtime: str = DEFAULT_RUNTIME,
) -> Correction | None:  # fmt: skip
    """What is asked of which promptable, opened: `refine` names it, True is the bundled one; None where nothing is
    asked.

    >>> correction_of((10, 20, 5, 95), (), (), False)
    Traceback (most recent call last):
    cutis.errors.CutisError: the box 10,20,5,95 is inside out: give x0,y0,x1,y1 with x0 below x1 and y0 below y1
    """
    if box is None and not len(points) and not len(not_points) and not refine:
        return None
    where = None
    if box is not None:
        x0, y0, x1, y1 = _finite(box, 4, "box", "x0,y0,x1,y1")
        if not (x0 < x1 and y0 < y1):
            raise CutisError(f"the box {_text(box)} is inside out: give x0,y0,x1,y1 with x0 below x1 and y0 below y1")
        where = x0, y0, x1, y1
    on, beside = ([_point(point) for point in some] for some in (points, not_points))
    model = load_promptable_model(None if isinstance(refine, bool) else refine, runtime=runtime)
    return Correction(model, where, tuple(on), tuple(beside), refine=bool(refine))


def parse_box(text: str) -> list[float]:
    """--box as it was typed.

    >>> parse_box("10,20,110,95")
    [10.0, 20.0, 110.0, 95.0]
    """
    return _finite(_numbers(text), 4, "box", "x0,y0,x1,y1", text)


def parse_point(text: str) -> list[float]:
    """--point or --not-point as it was typed."""
    return _finite(_numbers(text), 2, "point", "x,y", text)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return []


def _point(given: Sequence[float]) -> Point:
    x, y = _finite(given, 2, "point", "x,y")
    return x, y


def _finite(given: Sequence[float], count: int, what: str, form: str, text: str | None = None) -> list[float]:
    found = [float(value) for value in given]
    if len(found) != count or not np.isfinite(found).all():
        said = _text(given) if text is None else text
        raise CutisError(f"the {what} {said} is not {form}: give {count} numbers, in pixels of the picture")
    return found


def _text(given: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in given)


def _moved(probability: NDArray[np.float32], frame: Frame, into: Frame) -> NDArray[np.float32]:
    """(S, S) over one letterbox -> (S', S') over another of the same picture; 0 beside it."""
    if frame == into:
        return probability
    out = np.zeros((into.size, into.size), np.float32)
    size = (into.inner_width, into.inner_height)
    into.crop(out)[...] = cv2.resize(frame.crop(probability), size, interpolation=cv2.INTER_LINEAR)
    return out


def _fits(masks: NDArray[np.bool_], box: Box, size: int) -> NDArray[np.float64]:
    """(M, m, m) masks over a square of `size` pixels -> (M,): the IoU of each one's outer box with `box`."""
    scale, found = size / masks.shape[-1], np.zeros(len(masks))
    x0, y0, x1, y1 = box
    for number, mask in enumerate(masks):
        left, top, width, height = (scale * value for value in cv2.boundingRect(mask.astype(np.uint8)))
        across = max(0.0, min(left + width - 1, x1) - max(left, x0) + 1)
        down = max(0.0, min(top + height - 1, y1) - max(top, y0) + 1)
        both = across * down
        found[number] = both / (width * height + (x1 - x0 + 1) * (y1 - y0 + 1) - both)
    return found


def _inside(probability: NDArray[np.float32], box: Box) -> NDArray[np.float32]:
    """0 beside a person's box, which may be a little tight: the lesion is in it."""
    x0, y0, x1, y1 = box
    loose = max(2.0, _LOOSE * max(x1 - x0, y1 - y0))
    y, x = np.ogrid[: probability.shape[0], : probability.shape[1]]
    within = (x >= x0 - loose) & (x <= x1 + loose) & (y >= y0 - loose) & (y <= y1 + loose)
    return np.where(within, probability, np.float32(0))


def _surest(probability: NDArray[np.float32], count: int) -> list[Point]:
    """The pixels of highest probability, those farthest inside first where many are alike, a little apart."""
    left = cv2.GaussianBlur(probability, (0, 0), probability.shape[0] / 64)
    apart, found = max(1, probability.shape[0] // 16), []
    for _ in range(count):
        y, x = np.unravel_index(int(left.argmax()), left.shape)
        found.append((float(x), float(y)))
        left[max(0, y - apart) : y + apart + 1, max(0, x - apart) : x + apart + 1] = -1
        if left.max() <= 0.5:
            break
    return found
