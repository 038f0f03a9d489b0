"""What a record says, in plain words: for the report, the terminal and the page. Nothing here is measured or judged
anew."""

from __future__ import annotations

from cutis.records import Analysis, Asymmetry, Border, Diagnosis, Lesion, Symmetry

__all__ = [
    "CLASS_NAMES",
    "NEVER",
    "RESEARCH_ONLY",
    "answer",
    "asymmetry",
    "border",
    "class_name",
    "diagnosis",
    "extent",
    "probability",
    "symmetry",
    "title",
]

RESEARCH_ONLY = "Research use only, not a diagnosis."
NEVER = "Research only, never a diagnosis: what a lesion is, a physician says."

# P^2 / (4 pi A) of 1,160 lesions drawn by experts (ISIC 2018, HAM10000, PH2): half lie below 1.16 to 1.27, three
# quarters below 1.25 to 1.43, nine in ten below 1.4 to 1.7.
_SMOOTH, _UNEVEN = 1.2, 1.5
CLASS_NAMES = {
    "akiec": "actinic keratosis or Bowen's disease",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "mel": "melanoma",
    "nv": "melanocytic naevus",
    "vasc": "vascular lesion",
}
"""HAM10000's classes (Tschandl et al., Scientific Data 5, 2018), as people call them."""
_SYMMETRIES = {
    "asymmetric": "asymmetric",
    "symmetric": "symmetric",
    "one_axis": "symmetric about one axis",
    "two_axes": "symmetric about two axes",
}
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
        asked = analysis.symmetry_model or analysis.class_model
        unasked = " Without a lesion the networks for symmetry and class were not asked." if asked else ""
        return f"No lesion stands out in this picture. Lesions that are very pale or very small can be missed.{unasked}"
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


def class_name(label: str) -> str:
    """A class in plain words; a class that is not HAM10000's is called what its model calls it.

    >>> class_name("nv"), class_name("wart")
    ('melanocytic naevus', 'wart')
    """
    return CLASS_NAMES.get(label, label)


def symmetry(found: Symmetry) -> str:
    """The symmetry network's answer with its probability.

    >>> symmetry(Symmetry(label="asymmetric", probability=0.8))
    'asymmetric (80%)'
    >>> symmetry(Symmetry(label="asymmetric", probability=0.4, threshold=0.7))
    'asymmetric (40%; it says symmetric from 70% on)'
    """
    said = f"{_SYMMETRIES[found.label]} ({probability(found.probability)}"
    if found.threshold is not None and found.probability < 0.5:  # else the number seems to contradict the word
        said += f"; it says symmetric from {found.threshold:.0%} on"
    return f"{said})"


def diagnosis(found: Diagnosis) -> str:
    """The class network's answer with its probability, or that it is not sure and why.

    >>> diagnosis(Diagnosis(label="nv", probabilities={"nv": 0.8, "mel": 0.2}, prediction_set=["nv"]))
    'most like melanocytic naevus (80%)'
    >>> diagnosis(Diagnosis(label=None, probabilities={"nv": 1.0}, prediction_set=["nv"], reasons=["no class fits"]))
    'not sure: no class fits'
    """
    if found.label is None:
        return f"not sure: {'; '.join(found.reasons)}" if found.reasons else "not sure"
    return f"most like {class_name(found.label)} ({probability(found.probabilities[found.label])})"


def probability(p: float) -> str:
    """A probability that a network gives is neither nothing nor all.

    >>> probability(0.62), probability(0.0004), probability(1.0)
    ('62%', 'under 1%', 'over 99%')
    """
    if p < 0.01:
        return "under 1%"
    return "over 99%" if p > 0.99 else f"{p:.0%}"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else f"{share:.1%}"
