"""What is asked of a promptable model, and what its answers must reach: the values of a configuration.

Knowledge mining, Sec. 2.3 and Table 3. No torch here.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Gates", "PromptSettings"]


class PromptSettings(BaseModel):
    """What is asked; the paper: some points and the box (Table 3 tries each alone, and all three)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    points: int = Field(ge=0, description="x of Sec. 2.3, which the paper does not give; ours: 5")
    box: bool
    mask: bool = Field(description="the network's own logits as a third prompt")
    objects: Literal["one", "each"] = Field(
        description="one: a single prompt of all that is found, as the paper; each: one for every separate object, "
        "and the union of the answers"
    )
    averaged: bool = Field(
        default=False,
        description="the mean of the promptable's and the network's own probability is taken for the answer (ours)",
    )

    @model_validator(mode="after")
    def _asks_something(self) -> PromptSettings:
        if not (self.points or self.box or self.mask):
            raise ValueError("points, box or mask: at least one is needed, or nothing is asked")
        return self


class Gates(BaseModel):
    """What an answer must reach to be learned from; null: every answer is, as in the paper."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    score: float | None = Field(description="the promptable's own estimate of its IoU is at least this")
    agreement: float | None = Field(ge=0, le=1, description="Dice with the small network's mask is at least this")

    def passed(self, score: float, agreement: float) -> bool:
        """NaN passes no gate.

        >>> Gates(score=None, agreement=0.7).passed(0.1, 0.8), Gates(score=0.5, agreement=None).passed(0.1, 0.8)
        (True, False)
        """
        return (self.score is None or score >= self.score) and (self.agreement is None or agreement >= self.agreement)
