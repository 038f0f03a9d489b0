"""The configuration that an experiment's runs were made with, kept beside them, so that nothing else joins them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

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

    `may_grow`: fields that may differ, since they add runs and change none. What lists and mappings there held before
    stays in them: part of an experiment, made again or in addition, does not hide the rest from its tables.
    """
    given = config.model_dump(mode="json")
    known = given if before is None else before.model_dump(mode="json")
    other = sorted(name for name in given if name not in may_grow and given[name] != known[name])
    if other:
        raise CutisError(
            f"{path.parent} holds runs of another configuration ({', '.join(other)}): give another --output"
        )
    both = {name: _joined(known[name], value) for name, value in given.items()}
    atomic_write(path, yaml.safe_dump(both, sort_keys=False))


def _joined(before: Any, now: Any) -> Any:
    """What either holds, in the order of before; `now` where they are no two lists or mappings."""
    if isinstance(before, list) and isinstance(now, list):
        return before + [value for value in now if value not in before]
    if isinstance(before, dict) and isinstance(now, dict):
        return before | {name: _joined(before[name], value) if name in before else value for name, value in now.items()}
    return now
