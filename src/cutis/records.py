"""What travels out of an analysis, one `Analysis` an image: the contract of JSON lines, HTTP answer and report.

Lengths are pixels of the image as a person sees it (EXIF orientation applied) unless the name says `_mm`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Analysis",
    "Asymmetry",
    "Border",
    "Colour",
    "Diagnosis",
    "Lesion",
    "ModelInfo",
    "Quality",
    "Refinement",
    "Symmetry",
]


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Asymmetry(Record):
    """Share of the area that does not overlap with its mirror image about each principal axis (0 = symmetric)."""

    major_axis: float = Field(ge=0, le=1)
    minor_axis: float = Field(ge=0, le=1)
    asymmetric_axes: Literal[0, 1, 2]
    angle_degrees: float


class Border(Record):
    """Irregularity of the outline: 1 / circularity (>= 1, a disc gives 1), and the convex hull's unfilled share."""

    irregularity: float = Field(ge=0)
    hull_defect: float = Field(ge=0, le=1)
    perimeter: float = Field(ge=0)


class Colour(Record):
    """One of the six colours of the ABCD rule and the share of the lesion's pixels it covers."""

    name: Literal["white", "red", "light brown", "dark brown", "blue-grey", "black"]
    share: float = Field(ge=0, le=1)


class Lesion(Record):
    """The lesion found: where it is and its ABCD measures (Nachbar et al., 1994)."""

    mask: str | None = None
    overlay: str | None = None
    box: tuple[int, int, int, int] = Field(description="left, top, right, bottom; right and bottom exclusive")
    area: int = Field(gt=0, description="pixels")
    area_share: float = Field(gt=0, le=1)
    touches_frame: bool
    confidence: float = Field(ge=0, le=1, description="mean probability inside the mask")
    asymmetry: Asymmetry
    border: Border
    colours: list[Colour] = Field(description="colours present (share of at least 3%), largest first")
    diameter: float = Field(gt=0, description="longest extent, pixels")
    diameter_mm: float | None = None
    area_mm2: float | None = None


class Symmetry(Record):
    """Answer of the symmetry network of the SE-LCN cascade: of two classes, or of three by the number of axes."""

    label: Literal["asymmetric", "symmetric", "one_axis", "two_axes"]
    probability: float = Field(ge=0, le=1, description="of the label, calibrated")
    probabilities: dict[str, float] = Field(default_factory=dict, description="of each class; they add up to 1")
    threshold: float | None = Field(None, description="two classes: P(symmetric) from which the label is 'symmetric'")
    activation_map: str | None = Field(None, description="grey picture of where it looked, black 0 to white 1")


class Diagnosis(Record):
    """Answer of the lesion network of the SE-LCN cascade: a class, or 'not sure' with the reasons. No diagnosis."""

    label: str | None = Field(description="None means not sure")
    probabilities: dict[str, float] = Field(description="of each class, calibrated; they add up to 1")
    prediction_set: list[str] = Field(description="classes that fit, likeliest first")
    coverage: float | None = Field(None, description="share of lesions whose class is in its set, as it was fitted")
    unlikeness: float | None = Field(None, description="distance from the training images; about 1 for those")
    unlikeness_limit: float | None = Field(None, description="beyond it the answer is 'not sure'")
    reasons: list[str] = Field(default_factory=list, description="why not sure, in plain words")
    activation_map: str | None = Field(None, description="grey picture of where it looked, black 0 to white 1")


class Quality(Record):
    """What in the picture may mislead: measures, and warnings in plain words."""

    sharpness: float = Field(ge=0, description="variance of the Laplacian of the grey image, 256 px frame")
    brightness: float = Field(ge=0, le=1, description="mean grey value")
    overexposed: float = Field(ge=0, le=1, description="share of clipped bright pixels")
    underexposed: float = Field(ge=0, le=1, description="share of clipped dark pixels inside the field of view")
    hair_cover: float = Field(ge=0, le=1)
    dark_corners: float = Field(ge=0, le=1, description="share of the picture hidden by a dark vignette")
    warnings: list[str]


class ModelInfo(Record):
    """Which model answered."""

    name: str
    version: str
    precision: Literal["fp32", "int8"]
    sha256: str


class Refinement(Record):
    """Another network's answer took the place of the segmenter's mask: which, and what it was asked."""

    model: ModelInfo
    asked_by: Literal["network", "person"] = Field(description="the segmenter's own mask, or --box and --point")
    box: tuple[float, float, float, float] | None = Field(description="left, top, right, bottom; inclusive")
    points: list[tuple[float, float, bool]] = Field(description="x, y, whether the lesion is there")
    score: float = Field(ge=0, le=1, description="the other network's own estimate of its overlap (IoU)")


class Analysis(Record):
    """Everything said about one image. `status`: 'lesion', 'no_lesion' (an answer), or 'failed' (see `error`)."""

    file: str
    status: Literal["lesion", "no_lesion", "failed"]
    error: str | None = None
    width: int | None = None
    height: int | None = None
    lesion: Lesion | None = None
    symmetry: Symmetry | None = None
    diagnosis: Diagnosis | None = None
    quality: Quality | None = None
    model: ModelInfo | None = Field(None, description="finds the lesion")
    refined: Refinement | None = Field(None, description="where the mask is a promptable network's")
    symmetry_model: ModelInfo | None = Field(None, description="fills `symmetry` where a lesion is found")
    class_model: ModelInfo | None = Field(None, description="fills `diagnosis` where a lesion is found")
    times_ms: dict[str, float] = Field(default_factory=dict)
    cutis: str = Field(description="version of cutis that wrote this record")
