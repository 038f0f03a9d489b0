"""The configuration that an experiment's runs were made with, kept beside them, so that nothing else joins them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel

from cutis.errors import CutisError
from cutis.files import atomic_write

__all__ = ["read_remembered", "remember"]

Config = TypeVar("Config", bound=BaseModel)


def read_remembered(path: Path, kind: type[Config], what: str) -> Config:
    """The configuration at `path`; `what` the folder holds no readable one of, for the error."""
    try:
        return kind.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CutisError(
            f"{path.parent} holds no {what} ({reason}): give a folder that 'cutis experiment' made"
        ) from error


def remember(path: Path, config: BaseModel, before: BaseModel | None, *, may_grow: Collection[str]) -> None:
    """Write `config` to `path`, or refuse if the runs there were made with another one (`before`).

    `may_grow`: fields that may differ, since they add runs and change none.
    """
    given = config.model_dump(mode="json")
    known = given if before is None else before.model_dump(mode="json")
    other = sorted(name for name in given if name not in may_grow and given[name] != known[name])
    if other:
        raise CutisError(
            f"{path.parent} holds runs of another configuration ({', '.join(other)}): give another --output"
        )
    atomic_write(path, yaml.safe_dump(given, sort_keys=False))
