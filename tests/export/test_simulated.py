"""What fine-tuning for INT8 simulates is what the exported file computes: nearer to it than fp32 is."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from cutis.export.int8 import quantize
from cutis.export.onnx import export_onnx, standardised
from cutis.export.parity import open_session, probabilities
from cutis.imaging.preprocessing import Preprocessing
from cutis.layers.simulated_quantization import SimulatedQuantization
from cutis.models.sparsesegnet import SparseSegNet

STEPS = Preprocessing(size=64, mean=(0.7, 0.55, 0.5), std=(0.15, 0.16, 0.18))


def test_the_simulated_network_answers_as_the_int8_file(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SparseSegNet((16, 24, 32, 32), (1, 2, 2, 2))
        for _ in range(5):
            network(torch.randn(4, 3, 64, 64))
    network.eval()
    rng = np.random.default_rng(0)
    images = np.stack([cv2.resize(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), (64, 64)) for _ in range(20)])
    fp32, int8 = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    export_onnx(network, STEPS, fp32, name="simulated", version="1", threshold=0.5)
    made = quantize(fp32, int8, calibration={"image": images[:12]}, judging={"image": images[12:]})

    seen, way = standardised(images, STEPS), made.chosen.candidate
    simulated = SimulatedQuantization(network, seen[:1], float_head=bool(way.float_last))
    simulated.observe(network, [seen[:8], seen[8:12]], way.ranges)
    with torch.no_grad():
        ours = simulated(network, seen[12:]).sigmoid().numpy()
    theirs, exact = (probabilities(open_session(path), images[12:]) for path in (int8, fp32))
    assert np.abs(ours - theirs).mean() < 0.7 * np.abs(exact - theirs).mean()
    assert np.corrcoef((ours - exact).ravel(), (theirs - exact).ravel())[0, 1] > 0.7  # the same errors, not as many
