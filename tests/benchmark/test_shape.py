"""A shape's time: real networks in order, one process at a time, and what cannot be asked for."""

from __future__ import annotations

import threading
import time

import pytest

pytest.importorskip("torch")
from filelock import FileLock

from cutis.benchmark import shape as shapes
from cutis.benchmark.shape import shape_latency
from cutis.errors import CutisError
from cutis.recipes.config import NetworkSettings
from cutis.tuning.latency import Ratio


def network(*widths):
    return NetworkSettings(name="sparsesegnet", options={"widths": widths, "depths": (1, 1, 1, 1)})


def test_more_channels_take_longer(tmp_path):
    latency = shape_latency(None, tmp_path)
    narrow, wide = (latency.measure(network(*widths), 64) for widths in ((8, 8, 8, 8), (64, 128, 256, 256)))
    assert 0 < narrow.median < wide.median < 1
    assert narrow.low <= narrow.median <= narrow.high


def test_one_process_times_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(shapes, "_export", lambda network, side, folder: folder)
    monkeypatch.setattr(shapes, "time_shape", lambda file: Ratio(1.0, 1.0, 1.0))
    latency, found = shape_latency(None, tmp_path), []
    waiting = threading.Thread(target=lambda: found.append(latency.measure(network(8, 8, 8, 8), 64)))
    with FileLock(tmp_path / "latency.lock"):
        waiting.start()
        time.sleep(0.3)
        assert found == []
    waiting.join(10)
    assert found == [(1.0, 1.0, 1.0)]


def test_what_it_was_measured_with_is_told(tmp_path):
    told = shape_latency(0.8, tmp_path).described()
    assert told["limit"] == 0.8 and told["reference"] == "segmenter-int8" and len(told["sha256"]) == 64
    assert told["processor"] and told["onnxruntime"] and told["protocol"]["rounds"] > 0


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_limit_is_a_time(limit, tmp_path):
    with pytest.raises(CutisError, match=r"--latency-limit .*: give the longest time"):
        shape_latency(limit, tmp_path)


def test_a_network_that_cannot_be_made_is_one_line(tmp_path):
    with pytest.raises(CutisError, match=r"network 'sparsesegnet' with .*stride 2 or 4, not 3"):
        shape_latency(None, tmp_path).measure(NetworkSettings(name="sparsesegnet", options={"tail": 3}), 64)
