"""What a distillation run is: a supervised run, the composite loss, two teachers' caches, the gates' own settings.

SparseSegNet, Sec. 3.3, 3.4 and 4.3. No torch here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_serializer, model_validator

from cutis.recipes.config import LossSettings, Settings, SupervisedConfig

__all__ = [
    "AgreementSettings",
    "CompositeLossSettings",
    "DistillationConfig",
    "GateSettings",
    "PerturbationSettings",
    "TeacherSettings",
]


class CompositeLossSettings(LossSettings):
    """Eq. 11: dice 1, boundary (alpha) 0.2, ag_op (beta) 1.0, padd (gamma) 0.1, effu (delta) 0.01; 0 leaves a term
    out, and then nothing of it is computed. `reinforce` is Eq. 4, which has no weight in the paper: 1 with gates."""

    ag_op: float = Field(ge=0, description="L_OPD, beta: needs both teachers' caches")
    padd: float = Field(ge=0, description="L_PADD, gamma: a second forward pass")
    effu: float = Field(ge=0, description="R_EFFU, delta: how much an open gate costs")
    reinforce: float = Field(ge=0, description="the gates' policy gradient on the boundary error")


class AgreementSettings(Settings):
    """Where the teachers agree and differ (Eq. 7); the paper: 0.05 and 0.4."""

    probability: float = Field(gt=0, description="epsilon: teachers' probabilities are closer than this")
    cosine: float = Field(gt=-1, le=1, description="tau: the cosine of their embeddings is below this")


class GateSettings(Settings):
    """How the gates learn; the paper says a moving-average baseline and no more."""

    learning_rate: float = Field(gt=0, description="of phi: at the network's, no gate would reach 0 in a short run")
    baseline: Annotated[float, Field(gt=0, lt=1)] | Literal["rival"] = Field(
        description="decay of the moving average of the boundary error (Eq. 4), or rival: the error of a second "
        "pattern on the same image, which costs another pass of the decoder and is free of how hard the image is"
    )


class PerturbationSettings(Settings):
    """The random affine T of L_PADD; the paper says no more of it."""

    rotation_degrees: float = Field(ge=0, le=180)
    zoom: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = Field(
        description="smallest and largest factor, log-uniform"
    )
    shift: float = Field(ge=0, le=0.5, description="share of the frame")
    share: float = Field(
        default=1, gt=0, le=1, description="of a batch's images that are shown moved too; the second pass costs as much"
    )


class TeacherChoice(Settings):
    """Which teacher, as `cutis teach` names it: sam, clipseg, seem, or a run folder; the rest as its help explains."""

    kind: str
    weights: Path | None = None
    layer: str | None = None
    text: str | None = None
    prompts: Path | None = None
    recalibrate: str | None = None


class TeacherSettings(Settings):
    """Folders of the teachers' caches, of the run's training images, as 'cutis teach' makes them."""

    first: Path | None = Field(default=None, description="the boundary-minded one (the paper: SAM)")
    second: Path | None = Field(default=None, description="the context-minded one (the paper: SEEM)")

    @field_serializer("first", "second", when_used="json-unless-none")
    def _as_posix(self, folder: Path) -> str:
        return folder.as_posix()


class DistillationConfig(SupervisedConfig):
    """A run of SparseSegNet's composite loss (Sec. 3.4, Eq. 11)."""

    recipe: Literal["distillation"]
    loss: CompositeLossSettings
    agreement: AgreementSettings
    gates: GateSettings
    perturbation: PerturbationSettings
    teachers: TeacherSettings = Field(default=TeacherSettings(), description="--first and --second win over it")

    @property
    def gated(self) -> bool:
        """Whether the network has gates on its skips."""
        return self.network.options.get("gates") is not None

    @model_validator(mode="after")
    def _goes_together(self) -> DistillationConfig:
        if not self.gated and (self.loss.reinforce or self.loss.effu):
            raise ValueError(
                "loss.reinforce and loss.effu are of gates: give network.options.gates (their openness at the start, "
                "e.g. 0.9), or set both to 0"
            )
        if self.gated and not self.loss.reinforce:
            raise ValueError("loss.reinforce is 0, so that no gate would learn what it is for: give 1")
        if self.perturbation.zoom[0] > self.perturbation.zoom[1]:
            raise ValueError("perturbation.zoom: give two factors, the smaller first")
        return self
