"""What a search may vary: dotted field names of a configuration -> ranges or choices, read from YAML.

A number in a name is the place in a list, from 0 (`network.options.widths.2`): each entry varies by itself.

SE-LCN, Sec. 5.2: batch size, learning rate, momentum, weight decay, loss weighting; here any field of any recipe but
those that decide what is measured. Every end of every range is given to the recipe's own configuration before anything
is trained, so that its rules are the only ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cutis.errors import CutisError

__all__ = ["Choices", "Interval", "Space", "as_flags", "check_space", "read_space"]

_MEASURE = ("name", "task", "split", "leave_out", "validation_images", "select", "workers")
"""Fields that decide what is measured, or nothing at all."""


class Interval(BaseModel):
    """Numbers from `low` to `high`, both possible: `{type: float, low: 1.0e-5, high: 1.0e-2, log: true}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    type: Literal["float", "int"]
    low: float
    high: float
    log: bool = False
    step: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _is_a_range(self) -> Interval:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError("a logarithmic range begins above 0")
        if self.log and self.step:
            raise ValueError("a logarithmic range has no step")
        if self.type == "int" and any(value % 1 for value in (self.low, self.high, self.step or 1)):
            raise ValueError("low, high and step of an int are whole numbers")
        return self

    def suggest(self, name: str, trial: Any) -> float | int:
        """The value that an Optuna `trial` draws for the field."""
        if self.type == "int":
            return trial.suggest_int(name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def holds(self, value: Any) -> bool:
        """Whether the field may be `value`."""
        if isinstance(value, bool) or not isinstance(value, (int, float) if self.type == "float" else int):
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return self.low <= value <= self.high and abs(steps - round(steps)) < 1e-8

    def samples(self) -> tuple[float | int, ...]:
        """Values that a field must take if it takes all of them: both ends, and for a float one between."""
        if self.type == "int":
            return int(self.low), int(self.high)
        return (
            (self.low, self.high) if self.step else (self.low, self.high, self.low + (self.high - self.low) / math.pi)
        )


class Choices(BaseModel):
    """One of several values: `{choices: [16, 32, 64]}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    choices: tuple[bool | int | float | str | None, ...] = Field(min_length=2)

    def suggest(self, name: str, trial: Any) -> bool | int | float | str | None:
        """The value that an Optuna `trial` draws for the field."""
        return trial.suggest_categorical(name, self.choices)

    def holds(self, value: Any) -> bool:
        """Whether the field may be `value`."""
        return any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in self.choices)

    def samples(self) -> tuple[bool | int | float | str | None, ...]:
        """All of them."""
        return self.choices


Space = Mapping[str, Interval | Choices]
"""Dotted field name -> what it may be."""


def read_space(path: Path) -> dict[str, Interval | Choices]:
    """Read a YAML file of dotted field names; CutisError names the first range that is none."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CutisError(
            f"{path} cannot be read ({error.strerror}): give a search space, e.g. configs/*/tune.yaml"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CutisError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(entries, dict) or not entries:
        raise CutisError(f"{path} holds no field to search: give at least one, as 'learning_rate: {_EXAMPLE}'")
    return {str(name): _range(path, str(name), entry) for name, entry in entries.items()}


_EXAMPLE = "{type: float, low: 1.0e-5, high: 1.0e-2, log: true}"


def _range(path: Path, name: str, entry: Any) -> Interval | Choices:
    if not isinstance(entry, dict):
        raise CutisError(
            f"{path}, field {name!r}: {str(entry)[:80]!r} is no range: write {_EXAMPLE} or {{choices: [...]}}"
        )
    if name.partition(".")[0] in _MEASURE:
        raise CutisError(f"{path}, field {name!r} decides what is measured and is not searched: leave it out")
    try:
        return Choices.model_validate(entry) if "choices" in entry else Interval.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:2])
        raise CutisError(f"{path}, field {name!r}: {f'{where}: ' if where else ''}{first['msg']}") from error


def check_space(space: Space, path: Path, load: Callable[[Mapping[str, str]], Any]) -> None:
    """CutisError if a field is unknown to the configuration that `load` reads, or does not take its whole range."""
    for name, values in space.items():
        for value in values.samples():
            try:
                load(as_flags({name: value}))
            except CutisError as error:
                raise CutisError(f"{path}, field {name!r} cannot be {value!r}: {error}") from error


def as_flags(values: Mapping[str, Any]) -> dict[str, str]:
    """Values as the flags of `cutis train` have them: text that YAML reads back as it was.

    >>> as_flags({"learning_rate": 1e-05, "batch_size": 16, "schedule": "cosine"})
    {'learning_rate': '1.0e-05', 'batch_size': '16', 'schedule': 'cosine'}
    """
    return {name: yaml.safe_dump(value).removesuffix("...\n").strip() for name, value in values.items()}
