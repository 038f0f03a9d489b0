"""A run of SparseSegNet's composite loss, from its configuration and the teachers' caches to its run folder.

SparseSegNet, Sec. 3.3, 3.4 and 4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cutis.data.batches import Collated, SegmentationSet
from cutis.data.taught_batches import TaughtSet
from cutis.errors import CutisError
from cutis.recipes.config import load_config, parse_flags
from cutis.recipes.distillation import Distillation, embedding_of
from cutis.recipes.distillation_config import DistillationConfig, TeacherSettings
from cutis.recipes.folder import device_count
from cutis.recipes.run import Prepared, Run, carry_out, prepare, training_batches
from cutis.teachers.cache import TeacherCache, open_teacher_cache

__all__ = ["train_distillation", "train_distillation_from_file"]


def train_distillation(
    config: DistillationConfig,
    data: Path,
    folder: Path,
    *,
    cache: Path,
    resume: bool,
    start: Path | None = None,
    devices: int | str = 1,
    nodes: int = 1,
    accelerator: str = "auto",
    say: Callable[[str], None] = print,
    after_epoch: Callable[[int, float], None] | None = None,
) -> Run:
    """Train as `config` says on the data sets below `data`; everything that comes of it is in `folder`.

    Teachers are asked for only where the loss has AG-OP. CutisError where a cache is missing, is of other images, or
    both have another shape.
    """
    wanted = {name: getattr(config.teachers, name) for name in ("first", "second")} if config.loss.ag_op else {}
    for name, home in wanted.items():
        if home is None:
            raise CutisError(
                f"loss.ag_op is {config.loss.ag_op:g} and there is no {name} teacher: make its cache with "
                f"'cutis teach' and give it with --{name}, or set loss.ag_op to 0"
            )
    ready = prepare(config, data, folder, cache=cache, resume=resume, start=start, say=say)
    teachers = {name: open_teacher_cache(home, ready.training) for name, home in wanted.items() if home}
    pictures, channels = _pictures(config, ready, teachers)
    if teachers:
        ready.facts["data"]["teachers"] = {name: one.manifest.key for name, one in teachers.items()}
        ready.facts["teachers"] = {name: _told(one) for name, one in teachers.items()}
        for name, fact in ready.facts["teachers"].items():
            ready.say(f"{name} teacher: {fact['teacher']}, Dice {fact['dice']:.4f} on the training images")
    return carry_out(
        Distillation(ready.network, config, channels=channels), training_batches(config, ready.training, pictures),
        ready, config, data, folder, resume=resume, devices=devices, nodes=nodes, accelerator=accelerator,
        after_epoch=after_epoch,
    )  # fmt: skip


def train_distillation_from_file(
    config: Path,
    fields: Sequence[str],
    data: Path,
    output: Path | None,
    *,
    first: Path | None,
    second: Path | None,
    cache: Path,
    resume: bool,
    start: Path | None,
    devices: str,
    nodes: int,
    accelerator: str,
) -> Run:
    """`cutis train distillation`: a YAML file, flags that win over it, runs/<name> unless `output` is given."""
    settings = load_config(config, parse_flags(fields), DistillationConfig)
    teachers = TeacherSettings(first=first or settings.teachers.first, second=second or settings.teachers.second)
    settings = settings.model_copy(update={"teachers": teachers})
    folder = output or Path("runs") / settings.name
    return train_distillation(
        settings, data, folder, cache=cache, resume=resume, start=start, devices=device_count(devices), nodes=nodes,
        accelerator=accelerator,
    )  # fmt: skip


def _pictures(
    config: DistillationConfig, ready: Prepared, teachers: dict[str, TeacherCache]
) -> tuple[Collated, int | None]:
    """What batches are made of, and the channels of the teachers' embeddings."""
    pictures = SegmentationSet(ready.training, config.preprocessing, config.augmentation)
    if not teachers:
        return pictures, None
    first, second = teachers["first"], teachers["second"]
    shapes = [one.embedding.shape[1:] for one in (first, second)]
    if shapes[0] != shapes[1]:
        raise CutisError(
            f"the teachers' embeddings differ: {shapes[0]} in {first.home}, {shapes[1]} in {second.home}; make both "
            "with the same --channels and --side"
        )
    return TaughtSet(pictures, first, second, stride=embedding_of(ready.network)[1]), shapes[0][0]


def _told(teacher: TeacherCache) -> dict[str, object]:
    facts = teacher.manifest
    return {
        "teacher": facts.teacher, "fingerprint": facts.fingerprint, "folder": teacher.home.as_posix(),
        "dice": round(float(teacher.dice.mean()), 4), "aligned_to": facts.aligned_to,
    }  # fmt: skip
