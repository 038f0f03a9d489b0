"""What a supervised run is: every value that changes a number, validated, and written into the run folder.

No torch here. Values come from a YAML file and from flags, flags last. Unknown names are errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cutis.data.augment import Augmentation
from cutis.errors import CutisError
from cutis.imaging.preprocessing import Preprocessing

__all__ = ["SegmentationConfig", "SupervisedConfig", "describe_fields", "load_config", "parse_flags", "run_from_file"]


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkSettings(Settings):
    """A registered network and its keywords."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    channels: dict[str, tuple[int, ...]] = Field(
        default_factory=dict, description="what pruning left: module -> its outputs and inputs; written by cutis prune"
    )


class HeldOut(Settings):
    """One fold of a cross-validation: training and validation part are put together and divided anew, by lesion."""

    folds: int = Field(ge=2)
    fold: int = Field(ge=0, description="the one that is the validation part, from 0")

    @model_validator(mode="after")
    def _is_one_of_them(self) -> HeldOut:
        if self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} of {self.folds}: they are counted from 0")
        return self


class SplitSettings(Settings):
    """Our split: by lesion, over all data sets together (cutis.data.splits.split)."""

    fractions: dict[str, float] = Field(description="part -> share; training needs the parts train and validation")
    seed: int
    held_out: HeldOut | None = Field(default=None, description="for cross-validation; the test part stays what it is")


class HybridSettings(Settings):
    """SE-LCN, Eq. 2-4: Dice of lesion and background, and `rank_weight` times the rank loss of the hardest pixels."""

    rank_weight: float = Field(ge=0)
    hardest: int = Field(ge=1, description="pixels a side")
    margin: float = Field(ge=0)
    smooth: float = Field(gt=0, description="of Dice")


class LossSettings(Settings):
    """Weights of the terms; 0 leaves one out.

    SparseSegNet, Eq. 11: dice 1, boundary 0.2; Table 4's vanilla row: dice and cross-entropy. SE-LCN: hybrid alone.
    """

    dice: float = Field(ge=0)
    boundary: float = Field(ge=0)
    cross_entropy: float = Field(ge=0)
    boundary_band: float = Field(gt=0, le=1, description="shares of the frame's side")
    hybrid: HybridSettings | None = Field(default=None, description="SE-LCN's Dice and rank loss, beside the others")


class SizePhase(Settings):
    """From epoch `start` on, train at this side; the last phase's side should be the network's own."""

    start: int = Field(ge=0)
    size: int = Field(ge=32, multiple_of=16)


class SegmentationConfig(Settings):
    """What the run of any segmenter's recipe has; a recipe adds its loss, its augmentation and its own."""

    name: str
    network: NetworkSettings
    weights: str | None = Field(
        default=None, description="ImageNet weights of the encoder: 'imagenet' or a file; random unless given"
    )
    preprocessing: Preprocessing
    datasets: dict[str, float] = Field(
        min_length=1, description="data set -> how often its images are drawn, 1 = once an epoch"
    )
    split: SplitSettings
    epochs: Annotated[int, Field(ge=1)]
    epoch_images: int | None = Field(
        default=None, ge=1, description="images an epoch; all of the training part if not given"
    )
    batch_size: int = Field(ge=1, description="over all processes together")
    accumulate: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    clip_norm: float | None = Field(default=None, gt=0)
    average: float | None = Field(
        default=None, gt=0, lt=1, description="decay of the exponential moving average of the weights"
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    patience: int = Field(ge=1, description="validations without a better Dice before stopping")
    threshold: float = Field(gt=0, lt=1)
    validation_images: int | None = Field(default=None, ge=1, description="at most so many validation images")
    seed: int
    workers: int = Field(ge=0)

    def size_at(self, epoch: int) -> int:
        """Side of the training images in this epoch."""
        return self.preprocessing.size

    @field_validator("datasets")
    @classmethod
    def _are_drawn(cls, datasets: dict[str, float]) -> dict[str, float]:
        if min(datasets.values()) <= 0:
            raise ValueError("a data set is drawn more than 0 times an epoch: leave it out instead")
        return datasets


class SupervisedConfig(SegmentationConfig):
    """A supervised segmentation run (SparseSegNet, Sec. 3.4 and 4.3)."""

    phases: tuple[SizePhase, ...] = Field(min_length=1)
    weight_decay: float = Field(ge=0)
    warmup_epochs: float = Field(ge=0)
    loss: LossSettings
    augmentation: Augmentation

    def size_at(self, epoch: int) -> int:
        return [phase.size for phase in self.phases if phase.start <= epoch][-1]

    @field_validator("phases")
    @classmethod
    def _follow(cls, phases: tuple[SizePhase, ...]) -> tuple[SizePhase, ...]:
        starts = [phase.start for phase in phases]
        if starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError("the first phase starts at epoch 0, each other one later than the one before it")
        return phases


Config = TypeVar("Config", bound=BaseModel)
Trained = TypeVar("Trained")


def load_config(
    path: Path,
    overrides: Mapping[str, str],
    model: type[Config] = SupervisedConfig,  # type: ignore[assignment]
) -> Config:
    """Read a YAML file as a `model`; `overrides` (dotted field name -> text, as flags give them) win over it.

    Raises CutisError naming the first field that is unknown, missing or out of range.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CutisError(
            f"{path} cannot be read ({error.strerror}): give a configuration file, e.g. one of configs/"
        ) from error
    except yaml.YAMLError as error:
        raise CutisError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise CutisError(f"{path} holds no fields: see configs/ for examples")
    for name, text in overrides.items():
        _put(values, name.split("."), yaml.safe_load(text))
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise CutisError(f"{path}, field {field!r}: {first['msg']} (got {str(first['input'])[:80]!r})") from error


def parse_flags(tokens: Sequence[str]) -> dict[str, str]:
    """Flags as they were typed -> dotted field name -> text.

    >>> parse_flags(["--epochs", "3", "--loss.boundary=0"])
    {'epochs': '3', 'loss.boundary': '0'}
    """
    values, rest = {}, list(tokens)
    while rest:
        flag = rest.pop(0)
        if not flag.startswith("--"):
            raise CutisError(
                f"{flag!r} is not a flag: fields are given as --name value; 'cutis train fields' lists them"
            )
        name, equals, text = flag[2:].partition("=")
        if not equals:
            if not rest:
                raise CutisError(f"{flag} has no value: fields are given as --name value")
            text = rest.pop(0)
        values[name.replace("-", "_")] = text
    return values


def run_from_file(
    train: Callable[..., Trained], model: type[Config], config: Path, fields: Sequence[str], data: Path,
    output: Path | None, **rest: Any,
) -> Trained:  # fmt: skip
    """A recipe as the command line calls it: `train` with a YAML file of `model`, over which `fields`, given as flags,
    win, and with the run folder runs/<name> unless `output` is given."""
    settings: Any = load_config(config, parse_flags(fields), model)
    return train(settings, data, output or Path("runs") / settings.name, **rest)


def describe_fields(model: type[BaseModel] = SupervisedConfig, prefix: str = "") -> str:
    """One line a field: --dotted.name, type, description."""
    lines = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            lines.append(describe_fields(kind, f"{prefix}{name}."))
            continue
        shown = (
            kind.__name__
            if isinstance(kind, type) and not hasattr(kind, "__args__")
            else str(kind).replace("typing.", "")
        )
        lines.append(f"--{prefix}{name}  {shown}" + (f"  {field.description}" if field.description else ""))
    return "\n".join(lines)


def _put(values: dict[str, Any], where: list[str], value: Any) -> None:
    """A number in `where` is the place in a list, from 0: `network.options.widths.2`."""
    inner: Any = values
    for part, after in zip(where, [*where[1:], None], strict=True):
        key: Any = part
        if isinstance(inner, list):
            if not part.isdecimal() or int(part) >= len(inner):
                raise CutisError(
                    f"no field {'.'.join(where)!r}: {part!r} is no place in a list of {len(inner)}, from 0"
                )
            key = int(part)
        if after is None:
            inner[key] = value
            return
        inner = inner.get(key) if isinstance(inner, dict) else inner[key]
        if not isinstance(inner, (dict, list)):
            raise CutisError(f"no field {'.'.join(where)!r}: {part!r} holds no fields")
