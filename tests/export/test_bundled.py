"""The bundled files: one network in two precisions, small enough, alike on the same pixels."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from cutis.data.synthetic import draw_lesion
from cutis.export.parity import compare_over, open_session, probabilities
from cutis.imaging.preprocessing import Preprocessing

WEIGHTS = Path(str(resources.files("cutis"))) / "weights"
FILES = {precision: WEIGHTS / f"segmenter-{precision}.onnx" for precision in ("fp32", "int8")}

pytestmark = pytest.mark.skipif(not WEIGHTS.joinpath("models.json").exists(), reason="no weights in this tree yet")


def test_together_under_ten_megabytes():
    assert sum(path.stat().st_size for path in FILES.values()) < 10e6


def test_metadata_differs_in_precision_and_seal_alone():
    found = {precision: open_session(path).get_modelmeta().custom_metadata_map for precision, path in FILES.items()}
    assert {precision: facts.pop("cutis.precision") for precision, facts in found.items()} == {p: p for p in FILES}
    seals = {facts.pop("cutis.seal") for facts in found.values()}  # of each file's own bytes
    assert len(seals) == len(FILES)
    assert found["fp32"] == found["int8"]


def test_int8_is_fp32_within_a_percent_of_the_pixels():
    sessions = {precision: open_session(path) for precision, path in FILES.items()}
    facts = sessions["fp32"].get_modelmeta().custom_metadata_map
    preprocessing = Preprocessing.model_validate_json(facts["cutis.preprocessing"])
    rng = np.random.default_rng(5)
    drawn = [draw_lesion(rng, width=320, height=240, symmetry=2, hairs=5 * (i % 2)).image for i in range(8)]
    images = np.stack([preprocessing.apply(image).square for image in drawn])
    found = compare_over(
        lambda batch: probabilities(sessions["fp32"], batch),
        lambda batch: probabilities(sessions["int8"], batch),
        images,
        float(facts["cutis.threshold"]),
    )
    assert found.pixels < 0.01 and found.dice > 0.98, found
