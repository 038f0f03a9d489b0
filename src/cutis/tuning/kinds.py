"""Which recipe a configuration belongs to: how it is read, trained, and what its best epoch is chosen by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cutis.errors import CutisError
from cutis.recipes.adversarial_run import train_adversarial
from cutis.recipes.classification import train_classifier
from cutis.recipes.classification_config import ClassificationConfig
from cutis.recipes.config import SupervisedConfig, load_config, parse_flags
from cutis.recipes.distillation_run import train_distillation
from cutis.recipes.run import CONFIGS, train_supervised

__all__ = ["Kind", "kind_of"]

SEGMENTERS: Mapping[str, Callable[..., Any]] = {
    "supervised": train_supervised, "distillation": train_distillation, "adversarial": train_adversarial,
}  # fmt: skip
"""The field `recipe` of a segmenter's configuration -> what trains it."""


class Kind(NamedTuple):
    """A kind of run. `verb` of `cutis train`; `better` is 'maximize' or 'minimize' of the validation `measure`.

    `load(overrides)` reads the configuration; `train(config, data, folder, cache=, resume=, accelerator=, say=,
    after_epoch=)` trains it.
    """

    verb: str
    load: Callable[[Mapping[str, str]], Any]
    train: Callable[..., Any]
    measure: str
    better: str


def kind_of(path: Path, flags: Sequence[str], *, symmetry: Path | None) -> Kind:
    """The kind of the configuration in the YAML file `path`; CutisError if it is none.

    `flags` win over its fields in every trial; `symmetry` is the run whose maps a lesion network takes.
    """
    given = parse_flags(flags)
    if _fields(path).keys() & {"segmenter", "lesion"}:
        raise CutisError(f"{path} is of a whole cascade: search for one of its networks at a time")
    recipe = str(_fields(path).get("recipe", "supervised"))
    model = ClassificationConfig if "task" in _fields(path) else CONFIGS.get(recipe, SupervisedConfig)

    def load(overrides: Mapping[str, str]) -> Any:
        return load_config(path, {**given, **overrides}, model)

    config = load({})  # a configuration that is wrong by itself is named before any search space
    if not isinstance(config, ClassificationConfig):
        if symmetry:
            raise CutisError(f"{path} is of a segmenter, which takes no maps: leave --symmetry out")
        return Kind(recipe, load, SEGMENTERS[recipe], "dice", "maximize")
    verb = {"symmetry": "symmetry", "lesion_class": "lesion"}[config.task]
    better = "minimize" if config.select == "loss" else "maximize"
    return Kind(verb, load, partial(train_classifier, symmetry=symmetry), config.select, better)


def _fields(path: Path) -> dict[str, Any]:
    """As they stand in the file; what is wrong with it, `load_config` says."""
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return fields if isinstance(fields, dict) else {}
