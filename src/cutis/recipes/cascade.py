"""The cascade: segmenter, symmetry network, lesion network, trained one after the other by one command.

SE-LCN, Sec. 4.1 and 5.2 ("each network is trained separately in a sequential order"). Each stage is a run folder of its
own; one that is finished is never touched again, one that was cut off goes on. Any trained cutis segmenter can take the
first stage's place. Its masks replace the data sets' own wherever a masking strategy needs one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cutis.errors import CutisError
from cutis.files import atomic_write
from cutis.recipes.cascade_config import CascadeConfig
from cutis.recipes.classification import ClassifierRun, load_classifier_run, train_classifier
from cutis.recipes.config import load_config, parse_flags
from cutis.recipes.folder import best_checkpoint, digest, stage
from cutis.recipes.run import Run, load_run, train_supervised

__all__ = ["CascadeRun", "train_cascade", "train_cascade_from_file"]

CONFIG = "cascade.yaml"


class CascadeRun(NamedTuple):
    """The three trained networks."""

    segmenter: Run
    symmetry: ClassifierRun
    lesion: ClassifierRun


def train_cascade(
    config: CascadeConfig,
    data: Path,
    folder: Path,
    *,
    cache: Path,
    resume: bool,
    segmenter: Path | None = None,
    accelerator: str = "auto",
    say: Callable[[str], None] = print,
) -> CascadeRun:
    """Train what is not yet trained of the three stages in `folder`/segmenter, /symmetry and /lesion, on one device.

    `segmenter`: the run folder of a trained one instead of the first stage.
    """
    if segmenter is None and config.segmenter is None:
        raise CutisError("no segmenter: give a trained one with --segmenter, or the field 'segmenter' to train one")
    _remember(config, folder, segmenter, resume)
    common: dict[str, Any] = {"cache": cache, "say": say, "accelerator": accelerator}
    if segmenter is None:
        segmenter = folder / "segmenter"
        stage(train_supervised, config.segmenter, data, segmenter, say, common)
    symmetry, lesion = folder / "symmetry", folder / "lesion"
    stage(train_classifier, config.symmetry, data, symmetry, say, common | {"segmenter": segmenter})
    taken = {"symmetry": symmetry} if config.lesion.takes_map else {}
    stage(train_classifier, config.lesion, data, lesion, say, common | {"segmenter": segmenter} | taken)
    return CascadeRun(load_run(segmenter), load_classifier_run(symmetry), load_classifier_run(lesion))


def train_cascade_from_file(
    config: Path, flags: Sequence[str], data: Path, output: Path | None, **rest: Any
) -> CascadeRun:
    """`train_cascade` as the command line calls it: a YAML file and flags, run folder runs/<name> unless given."""
    settings = load_config(config, parse_flags(flags), CascadeConfig)
    folder = output or Path("runs") / settings.name
    return train_cascade(settings, data, folder, **rest)


def _remember(config: CascadeConfig, folder: Path, segmenter: Path | None, resume: bool) -> None:
    """Write what is asked for, or refuse if the folder holds something else."""
    asked = {
        "config": config.model_dump(mode="json"),
        "segmenter": digest(best_checkpoint(segmenter)) if segmenter else None,
    }
    path = folder / CONFIG
    if path.exists():
        if not resume:
            raise CutisError(f"{folder} holds a cascade already: give another --output, or --resume to go on with it")
        before = yaml.safe_load(path.read_text(encoding="utf-8"))
        if before != asked:
            what = "configuration" if before["segmenter"] == asked["segmenter"] else "segmenter"
            raise CutisError(f"{folder} was begun with another {what}: resume with the same, or give another --output")
    elif resume:
        raise CutisError(f"{folder} holds no cascade: nothing to resume; leave --resume out")
    atomic_write(path, yaml.safe_dump(asked, sort_keys=False))
