"""A program of ExecuTorch's answers as torch and ONNX Runtime do, is refused where it is not whole, and is not written
where it answers differently."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cutis.analysis.runtime import load_model
from cutis.analysis.runtimes import TOLERANCE, open_session
from cutis.errors import CutisError
from cutis.export.onnx import torch_probabilities
from cutis.files import UNSEALED, seal, seal_is_whole

pytest.importorskip("executorch", exc_type=ImportError)
DESCRIBED = {"name": "toy", "version": "1.2", "threshold": 0.45}


@pytest.fixture(scope="module")
def program(tmp_path_factory, toy, preprocessing) -> Path:
    from cutis.export.executorch import export_executorch

    path = tmp_path_factory.mktemp("program") / "toy-fp32.pte"
    made = export_executorch(toy.to(memory_format=torch.channels_last), preprocessing, path, **DESCRIBED)
    assert made.size == path.stat().st_size and made.difference is not None and made.difference < 1e-4
    return path


def test_masks_and_probabilities_are_those_of_onnxruntime_and_torch(program, exported, toy, preprocessing, images):
    first, second = load_model(exported), load_model(program, runtime="executorch")
    one, other = first.probability(images), second.probability(images)
    differ = ((one > first.threshold) != (other > first.threshold)).mean(axis=(1, 2))
    mean = np.abs(one - other).mean(axis=(1, 2))
    print(f"toy on executorch: pixels {differ.max():.7f}, mean |dp| {mean.max():.7f}")
    assert differ.max() <= TOLERANCE["executorch"].pixels and mean.max() <= TOLERANCE["executorch"].mean
    assert one.min() < 0.3 and one.max() > 0.7  # there is something to differ in
    np.testing.assert_allclose(other, torch_probabilities(toy, preprocessing, images)[:, 0], atol=1e-4)


def test_a_program_says_of_itself_what_the_onnx_file_does(program, exported):
    here, there = (
        open_session(exported.read_bytes(), "onnxruntime", 1),
        open_session(program.read_bytes(), "fastest", 1),
    )
    assert there.runtime == "executorch"
    assert (there.inputs, there.outputs) == (here.inputs, here.outputs)
    of_one = {key: value for key, value in there.metadata.items() if key not in ("cutis.inputs", "cutis.outputs")}
    assert {**of_one, "cutis.seal": ""} == {**here.metadata, "cutis.seal": ""}
    assert seal_is_whole(program.read_bytes()) and load_model(program, runtime="executorch").info.name == "toy"


def test_threads_may_share_a_program(program, images):
    model = load_model(program, runtime="executorch")
    alone = [model.probability(image) for image in images[:8]]
    with ThreadPoolExecutor(4) as pool:
        for expected, found in zip(alone, pool.map(model.probability, images[:8]), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_process_has_one_number_of_threads(program):
    load_model(program, runtime="executorch")
    with pytest.raises(CutisError, match=r"ExecuTorch runs on 1 threads in this process: open the model on 2"):
        load_model(program, threads=2, runtime="executorch")


def resealed(content: bytes, old: bytes, new: bytes) -> bytes:
    """Changed in the place of one text, and sealed as if it had been exported so."""
    assert content.count(old) == 1 and len(old) == len(new)
    return seal(re.sub(rb"seal:[0-9a-f]{64}", UNSEALED.encode(), content).replace(old, new))


BROKEN = {
    "half of it": (lambda c: c[: len(c) // 2], "was altered after its export"),
    "its first bytes": (lambda c: c[:100], "is cut short, or cutis did not export it"),
    "a weight": (lambda c: c[:-40] + bytes([c[-40] ^ 1]) + c[-39:], "was altered after its export"),
    "a letter of the seal": (lambda c: c.replace(b"seal:", b"sea1:"), "is cut short, or cutis did not export it"),
    "a newer format": (
        lambda c: resealed(c, b'"cutis.format": "1"', b'"cutis.format": "2"'), "has model format 2, this cutis reads 1"
    ),
    "no format": (lambda c: resealed(c, b'"cutis.format"', b'"cutis.forman"'), "was not exported by cutis"),
    "no threshold": (lambda c: resealed(c, b'"cutis.threshold"', b'"cutis.threshole"'), "wrong 'cutis.threshold'"),
    "another task": (lambda c: resealed(c, b'"segmentation"', b'"segmentatiom"'), "is a model for 'segmentatiom'"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_not_whole_is_refused_in_one_line(what, program, tmp_path):
    change, said = BROKEN[what]
    path = tmp_path / "broken.pte"
    path.write_bytes(change(program.read_bytes()))
    with pytest.raises(CutisError, match=re.escape(said)) as error:
        load_model(path, runtime="executorch")
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_onnxruntime_says_what_opens_a_program(program):
    with pytest.raises(CutisError, match=r"toy-fp32.pte is a program of ExecuTorch's .* give --runtime executorch"):
        load_model(program)


class _Other(nn.Conv2d):
    """Deployed, it is another network."""

    def deployed(self) -> nn.Module:
        return nn.Conv2d(3, 1, 1)


def test_nothing_is_written_where_it_answers_differently(tmp_path, preprocessing):
    from cutis.export.executorch import export_executorch

    with pytest.raises(CutisError, match=r"wrong.pte not written: its probabilities differ from torch's by 0"):
        export_executorch(_Other(3, 1, 1), preprocessing, tmp_path / "wrong.pte", **DESCRIBED)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_int8_loses_little(program, tmp_path, preprocessing, images, toy):
    from cutis.export.executorch import quantize_executorch

    told = []
    made = quantize_executorch(
        toy, preprocessing, tmp_path / "toy-int8.pte", **DESCRIBED, calibration=images[:20],
        progress=lambda *done: told.append(done),
    )  # fmt: skip
    model = load_model(made.path, runtime="executorch")
    assert model.info.precision == "int8" and made.size < program.stat().st_size and told[-1] == (20, 20)
    found, expected = (m.probability(images[20:]) for m in (model, load_model(program, runtime="executorch")))
    assert 0 < np.abs(found - expected).mean() < 0.02
    assert ((found > 0.45) != (expected > 0.45)).mean() < 0.01
