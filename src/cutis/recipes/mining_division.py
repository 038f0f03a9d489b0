"""Which training images of a knowledge mining run have labels, which have none, and that no image is on both sides.

Knowledge mining, Sec. 2.8: the training part is divided, and the labels of one side are dropped. Whole data sets may be
unlabelled too; of those only the training part is taken, and nothing that the run validates or tests on.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cutis.data.catalogue import open_dataset
from cutis.data.samples import Sample
from cutis.data.splits import deal, split
from cutis.errors import CutisError
from cutis.recipes.config import SegmentationConfig
from cutis.recipes.folder import digest
from cutis.recipes.knowledge_mining_config import KnowledgeMiningConfig
from cutis.recipes.run import parts_of

__all__ = ["Division", "divide", "training_part", "unlabelled_part"]


@dataclass(frozen=True)
class Division:
    """`parts` of the run; of its training part, the places of the `labelled` and of the `unlabelled` images.

    The training part is the same whoever has a label, so that images are decoded and embedded once for all divisions.
    The hidden truth of an unlabelled image, where there is one, is its sample's mask.
    """

    parts: dict[str, tuple[Sample, ...]]
    labelled: tuple[int, ...]
    unlabelled: tuple[int, ...]

    @property
    def key(self) -> str:
        """Hash of who has a label."""
        return hashlib.sha256(repr((self.labelled, self.unlabelled)).encode()).hexdigest()[:16]


def divide(config: KnowledgeMiningConfig, data: Path, say: Callable[[str], None]) -> Division:
    """CutisError where no image is left with a label, none without, or one is in both sets."""
    parts = parts_of(config, data, say)
    own, share = parts.get("train", ()), config.labelled.fraction
    dealt = deal(own, {"labelled": share, "unlabelled": 1 - share}, config.labelled.seed) if own else {}
    labelled = dealt.get("labelled", ())
    if not labelled:
        raise CutisError(
            f"no labelled images: labelled.fraction {share:g} of {len(own)} training images is none; give more"
        )
    named = unlabelled_part(config, config.unlabelled, data, parts, say)
    if copies := _copies(named, labelled):
        one, other = copies[0]
        raise CutisError(
            f"the same image is in both sets: {one.dataset} {one.id} is unlabelled and {other.dataset} {other.id} is "
            f"labelled ({len(copies)} in all): take {one.dataset} out of 'unlabelled', or the images out of it"
        )
    hidden = _without_copies(dealt.get("unlabelled", ()), labelled, "copies of labelled images", say)
    if config.mining and config.mining.schedule != "supervised" and not (hidden or named):
        raise CutisError(
            f"no unlabelled images: all {len(labelled)} training images are labelled; give a smaller "
            "labelled.fraction, or name data sets in 'unlabelled'"
        )
    parts["train"] = (*own, *named)
    place = {(sample.dataset, sample.id): number for number, sample in enumerate(parts["train"])}
    some, rest = (tuple(sorted(place[s.dataset, s.id] for s in side)) for side in (labelled, (*hidden, *named)))
    return Division(parts, some, rest)


def unlabelled_part(
    config: SegmentationConfig, names: Iterable[str], data: Path, parts: Mapping[str, tuple[Sample, ...]],
    say: Callable[[str], None],
) -> tuple[Sample, ...]:  # fmt: skip
    """The training part of the data sets `names`, with or without masks, less what is in the other `parts`."""
    samples: list[Sample] = []
    for name in names:
        found = open_dataset(data, name)
        if not len(found):
            raise CutisError(f"{data} holds no images of {name}: take it out of the field 'unlabelled'")
        samples += split(found, config.split.fractions, config.split.seed).get("train", ())
    held = [sample for part, members in parts.items() if part != "train" for sample in members]
    lesions = {name for sample in held for name in (sample.id, sample.group)}
    kept = [sample for sample in samples if sample.id not in lesions and sample.group not in lesions]
    if len(kept) < len(samples):
        say(f"left out {len(samples) - len(kept)} unlabelled images: their lesions are validated or tested on")
    return _without_copies(kept, held, "copies of images that are validated or tested on", say)


def training_part(
    config: SegmentationConfig, names: Iterable[str], data: Path, say: Callable[[str], None]
) -> dict[str, tuple[Sample, ...]]:
    """The parts of a run that needs no labels to train: the training part has also the data sets `names`."""
    parts = parts_of(config, data, say)
    train = parts.pop("train", ())
    more = _without_copies(unlabelled_part(config, names, data, parts, say), train, "copies", say)
    return {"train": (*train, *more), **parts}


def _without_copies(
    samples: Iterable[Sample], others: Iterable[Sample], what: str, say: Callable[[str], None]
) -> tuple[Sample, ...]:
    samples = tuple(samples)
    copies = {(one.dataset, one.id) for one, _ in _copies(samples, others)}
    if copies:
        say(f"left out {len(copies)} unlabelled images: {what}")
    return tuple(sample for sample in samples if (sample.dataset, sample.id) not in copies)


def _copies(samples: Iterable[Sample], others: Iterable[Sample]) -> list[tuple[Sample, Sample]]:
    """Pairs of a sample and another one that is the same image: by its id, or byte for byte."""
    by_id, by_size = {}, defaultdict(list)
    for other in others:
        by_id[other.id] = other
        by_size[_size(other)].append(other)
    found = []
    for sample in samples:
        twin = by_id.get(sample.id) if sample.dataset != "folder" else None
        for other in by_size.get(_size(sample), ()) if twin is None else ():
            if digest(sample.image) == digest(other.image):
                twin = other
        if twin is not None:
            found.append((sample, twin))
    return found


def _size(sample: Sample) -> int:
    try:
        return sample.image.stat().st_size
    except OSError as error:
        raise CutisError(
            f"{sample.image} cannot be read ({error.strerror}): run 'cutis data check' on its folder"
        ) from error
