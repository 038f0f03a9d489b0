"""What a record says, in plain words: for the report, the terminal and the page. Nothing here is measured or judged
anew."""

from __future__ import annotations

from cutis.records import Analysis, Asymmetry, Border, Lesion

__all__ = ["RESEARCH_ONLY", "answer", "asymmetry", "border", "extent", "title"]

RESEARCH_ONLY = "Research use only, not a diagnosis."

# P^2 / (4 pi A) of 1,160 lesions drawn by experts (ISIC 2018, HAM10000, PH2): half lie below 1.16 to 1.27, three
# quarters below 1.25 to 1.43, nine in ten below 1.4 to 1.7.
_SMOOTH, _UNEVEN = 1.2, 1.5
_AXES = ("symmetric", "asymmetric about one axis", "asymmetric about both axes")


def title(analysis: Analysis) -> str:
    """The answer in two or three words.

    >>> title(Analysis(file="a.jpg", status="no_lesion", cutis="0"))
    'No lesion found'
    """
    return {"lesion": "Lesion found", "no_lesion": "No lesion found", "failed": "Not analysed"}[analysis.status]


def answer(analysis: Analysis) -> str:
    """The answer in a sentence or two."""
    if analysis.status == "failed":
        return analysis.error or "The image could not be analysed."
    lesion = analysis.lesion
    if lesion is None:
        return "No lesion stands out in this picture. Lesions that are very pale or very small can be missed."
    where = ", reaches its edge" if lesion.touches_frame else ""
    return (
        f"It covers {_percent(lesion.area_share)} of the picture{where} and is {extent(lesion)} across. "
        f"Its shape is {asymmetry(lesion.asymmetry)}, its outline {border(lesion.border)}."
    )


def extent(lesion: Lesion) -> str:
    """Its longest extent, in millimetres where they are known."""
    if lesion.diameter_mm is not None:
        return f"{lesion.diameter_mm:.1f} mm"
    return f"{lesion.diameter:.0f} pixels"


def asymmetry(found: Asymmetry) -> str:
    """Asymmetry of shape, in words."""
    return _AXES[found.asymmetric_axes]


def border(found: Border) -> str:
    """Irregularity of the outline, in words, against outlines drawn by experts."""
    if found.irregularity < _SMOOTH:
        return "smooth"
    return "uneven" if found.irregularity < _UNEVEN else "irregular"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else f"{share:.1%}"
