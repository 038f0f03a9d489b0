"""The table of what networks cost: the paper's values beside ours, frames from milliseconds, unknown names."""

from __future__ import annotations

import numpy as np
import pytest

from cutis.benchmark.architectures import NETWORKS, SIZES, cost_rows, measure_architectures
from cutis.errors import CutisError
from cutis.registry import models


def test_rows_hold_costs_times_and_the_papers_values():
    costs = {"M parameters": 2.35, "GMAC": 0.91, "attention GMAC": 2.05}
    times = {
        "slsnet 256 fp32": np.full((4, 1), 0.1),
        "slsnet 256 int8": np.full((4, 1), 0.05),
        "unet 64 fp32": np.full((4, 1), 0.01),
    }
    rows = {row.name: row.values for row in cost_rows(dict.fromkeys(times, costs), times)}
    assert rows["slsnet 256 int8"]["fps"] == pytest.approx(20)
    assert rows["slsnet 256 fp32"]["paper GMAC"] == 3.16 and rows["slsnet 256 fp32"]["paper fps"] == 78.63
    assert not any(name.startswith("paper") for name in rows["unet 64 fp32"])
    assert rows["unet 64 fp32"]["GMAC"] == 0.91


def test_every_network_is_registered_and_the_sizes_are_the_papers():
    pytest.importorskip("torch")
    import cutis.models  # noqa: F401

    assert set(NETWORKS) <= set(models)
    assert SIZES == (64, 128, 256)


def test_an_unknown_network_is_named(tmp_path):
    pytest.importorskip("lightning")
    with pytest.raises(CutisError, match="no model named 'nosuch'"):
        measure_architectures(["nosuch"], [64], rounds=1, output=None)
