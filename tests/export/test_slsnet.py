"""SLSNet as ONNX: attention without torch's kernel answers the same, at 128 pixels and at a size that is padded."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from cutis.export.onnx import export_onnx  # noqa: E402
from cutis.imaging.preprocessing import Preprocessing  # noqa: E402
from cutis.models.slsnet import slsnet  # noqa: E402


@pytest.mark.slow
@pytest.mark.parametrize("size", [50, 128])
def test_the_file_answers_as_torch_does(tmp_path, size):
    torch.manual_seed(0)
    network = slsnet()
    with torch.no_grad():
        for name, scale in network.named_parameters():
            if name.endswith(("gamma", "eta")):  # they start at 0, where attention does nothing
                scale.fill_(0.3)
    steps = Preprocessing(size=size, mean=(0.7, 0.55, 0.5), std=(0.2, 0.2, 0.2))
    made = export_onnx(network, steps, tmp_path / "slsnet.onnx", name="slsnet", version="1", threshold=0.5)
    assert max(made.differences.values()) < 1e-4
    assert made.size < 11e6
