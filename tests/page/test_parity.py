"""One truth: the same drawn pixels through Python and through a browser give the same mask, answers and measures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from page_asking import give, mask, png, record
from PIL import Image

from cutis.analysis import words
from cutis.analysis.cascade import load_cascade
from cutis.analysis.pipeline import analyze_image
from cutis.analysis.runtime import load_model
from cutis.data.synthetic import draw_lesion, draw_skin
from cutis.records import Analysis

PICTURES = {
    "symmetric": {"width": 600, "height": 450, "symmetry": 2},
    "asymmetric-hair": {"width": 768, "height": 576, "symmetry": 0, "hairs": 22},
    "vignette": {"width": 450, "height": 600, "symmetry": 1, "vignette": True},
    "dark-skin": {"width": 1024, "height": 768, "symmetry": 0, "tone": 0.9},
}


def both(loaded, name, content) -> tuple[Analysis, Analysis, np.ndarray]:
    """Python's record, the page's (which must be of the same contract), and Python's mask."""
    give(loaded, f"{name}.png", content)
    outcome = analyze_image(content, load_model(), name=f"{name}.png", cascade=load_cascade())
    return outcome.analysis, Analysis.model_validate(record(loaded)), outcome.mask


@pytest.mark.parametrize("name", PICTURES)
def test_a_drawn_lesion_gets_the_same_answers_and_measures(loaded, name):
    drawn = draw_lesion(np.random.default_rng(5), **PICTURES[name])
    ours, theirs, ours_mask = both(loaded, name, png(drawn.image))
    assert ours.status == theirs.status == "lesion"
    assert (mask(loaded) == ours_mask).mean() >= 0.999
    for one, other in ((ours.symmetry, theirs.symmetry), (ours.diagnosis, theirs.diagnosis)):
        assert one is not None and other is not None and one.label == other.label
        assert other.probabilities == pytest.approx(one.probabilities, abs=0.002)
    assert theirs.diagnosis.prediction_set == ours.diagnosis.prediction_set
    assert theirs.diagnosis.reasons == ours.diagnosis.reasons
    assert theirs.diagnosis.unlikeness == pytest.approx(ours.diagnosis.unlikeness, rel=0.02)
    models = ("model", "symmetry_model", "class_model")
    assert [getattr(theirs, field) for field in models] == [getattr(ours, field) for field in models]
    same_measures(ours.lesion, theirs.lesion)
    said, heard = ours.quality.model_dump(), theirs.quality.model_dump()
    assert heard.pop("warnings") == said.pop("warnings")
    assert heard == pytest.approx(said, rel=0.01, abs=0.002)
    assert words.answer(ours) in loaded.inner_text("#card")


def same_measures(one, other):
    """To 1% of each length and area, to a hundredth of each share."""
    for field in ("area", "area_share", "confidence", "diameter"):
        assert getattr(other, field) == pytest.approx(getattr(one, field), rel=0.01), field
    assert np.abs(np.subtract(one.box, other.box)).max() <= 1
    assert other.touches_frame == one.touches_frame
    assert other.border.model_dump() == pytest.approx(one.border.model_dump(), rel=0.01, abs=0.002)
    assert other.asymmetry.asymmetric_axes == one.asymmetry.asymmetric_axes
    for axis in ("major_axis", "minor_axis"):
        assert getattr(other.asymmetry, axis) == pytest.approx(getattr(one.asymmetry, axis), abs=0.01)
    assert [colour.name for colour in other.colours] == [colour.name for colour in one.colours]
    assert [colour.share for colour in other.colours] == pytest.approx([c.share for c in one.colours], abs=0.01)


def test_skin_without_a_lesion_has_none(loaded):
    skin = draw_skin(np.random.default_rng(8), width=400, height=300, tone=0.1)
    ours, theirs, _ = both(loaded, "skin", png(skin))
    assert ours.status == theirs.status == "no_lesion"
    assert theirs.lesion is theirs.symmetry is theirs.diagnosis is None
    assert theirs.quality.warnings == ours.quality.warnings
    assert "No lesion found" in loaded.inner_text("#card")


def test_a_photo_lies_as_its_exif_says(loaded):
    drawn = draw_lesion(np.random.default_rng(5), width=320, height=240, symmetry=1)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(drawn.image).save(buffer, "JPEG", quality=95, exif=exif)
    ours, theirs, ours_mask = both(loaded, "turned", buffer.getvalue())
    assert (theirs.width, theirs.height) == (ours.width, ours.height) == (240, 320)
    assert (mask(loaded) == ours_mask).mean() >= 0.999


def test_transparency_lies_over_white(loaded):
    drawn = draw_lesion(np.random.default_rng(5), width=320, height=240, symmetry=1)
    alpha = np.full((240, 320), 255, np.uint8)
    alpha[:, :40] = 90
    ours, theirs, ours_mask = both(loaded, "clear", png(np.dstack([drawn.image, alpha])))
    assert theirs.diagnosis.probabilities == pytest.approx(ours.diagnosis.probabilities, abs=0.01)
    assert (mask(loaded) == ours_mask).mean() >= 0.999


def test_a_large_photo_is_shrunk_as_it_is_read(loaded):
    """The decoders shrink differently, so this one agrees less closely: by cosine terms in Python, by means here."""
    drawn = draw_lesion(np.random.default_rng(5), width=576, height=432, symmetry=1)
    buffer = io.BytesIO()
    Image.fromarray(drawn.image).resize((2304, 1728), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=92)
    ours, theirs, ours_mask = both(loaded, "large", buffer.getvalue())
    assert (theirs.width, theirs.height) == (2304, 1728)
    assert (mask(loaded) == ours_mask).mean() >= 0.998
    assert theirs.diagnosis.probabilities == pytest.approx(ours.diagnosis.probabilities, abs=0.03)
