"""Ours beside peers: who takes turns with whom, and what a ratio and a target are made of."""

from __future__ import annotations

import numpy as np
import pytest

from cutis.benchmark.alone import Alone
from cutis.benchmark.contenders import Contender
from cutis.benchmark.products import Products
from cutis.benchmark.result import verdict
from cutis.benchmark.versus import groups_of, peer_rows, target_rows

ALONE = Alone(10.0, 20.0, 100.0, 30.0)


def contender(title: str, peer: str | None = None, precision: str = "fp32", cost: float = 1e9) -> Contender:
    facts = {"precision": precision}
    return Contender(title, "model", title, 256, Products(2_000_000, int(cost), 0), facts, peer, None)


OURS = contender("ours int8", precision="int8")
FLOAT = contender("ours fp32")
UNET = contender("U-Net fp32", "unet-resnet34")
UNET8 = contender("U-Net int8", "unet-resnet34", "int8")
SAM = contender("SAM fp32", "sam-vit-b", cost=4e11)
HUGE = contender("SAM ViT-H fp32, torch", "sam-vit-h", cost=2.7e12)


def test_what_takes_seconds_has_turns_of_its_own():
    groups = {group.name: group for group in groups_of([OURS, UNET, SAM, HUGE], 20)}
    assert [c.title for c in groups["milliseconds"].contenders] == ["ours int8", "U-Net fp32"]
    assert groups["milliseconds"].protocol.rounds == 20
    assert groups["seconds"].contenders == (SAM,) and groups["seconds"].protocol.rounds == 2
    assert groups["minutes"].contenders == (HUGE,) and groups["minutes"].one_thread
    assert [group.name for group in groups_of([OURS], 20)] == ["milliseconds"]


def test_targets_are_ratios_of_the_same_rounds():
    """The machine is three times slower in every other round, and much faster while SAM has its turns."""
    drift = np.array([[1.0], [3.0], [1.0], [3.0]])
    light = {"U": drift * 0.1, "ours int8": drift * 0.002, "ours fp32": drift * 0.006, "U-Net fp32": drift * 0.06}
    light["U-Net int8"] = drift * 0.02
    seconds = {"U": np.full((3, 1), 0.05), "ours int8": np.full((3, 1), 0.001), "SAM fp32": np.full((3, 1), 0.9)}
    rows = target_rows([OURS, FLOAT, UNET, UNET8, SAM], {"milliseconds": light, "seconds": seconds})
    found = {row.name: (row.values["times as long"], row.target[2], verdict(row)) for row in rows}
    assert found == {
        "U-Net fp32 beside ours int8": (pytest.approx(30), 25, True),
        "SAM fp32 beside ours int8": (pytest.approx(900), 1000, False),
        "ours fp32 beside ours int8": (pytest.approx(3), 2.5, True),
    }


def test_without_our_int8_first_there_are_no_targets():
    times = {"g": {"U": np.ones((1, 1)), "ours fp32": np.ones((1, 1)), "U-Net fp32": np.ones((1, 1))}}
    assert target_rows([FLOAT, UNET], times) == []
    assert target_rows([UNET, OURS], {"g": times["g"] | {"ours int8": np.ones((1, 1))}}) == []


def test_a_row_holds_all_that_is_known(tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(b"x" * 3_000_000)
    ours = OURS._replace(file=file, facts={"precision": "int8", "sha256": "ab" * 32})
    one = {"U": np.full((2, 1), 0.1), "ours int8": np.full((2, 1), 0.002)}
    two = {"U": np.full((2, 1), 0.06), "ours int8": np.full((2, 1), 0.0015)}

    class Measured:
        def values(self):
            return {"Dice": 0.9}

    rows = peer_rows([ours], {"milliseconds": {1: one, 2: two}}, {"ours int8": ALONE}, {"ab" * 6: Measured()})
    values = rows[0].values
    assert values["ms"] == pytest.approx(2) and values["ratio to U"] == pytest.approx(0.02)
    assert values["ms, 2 threads"] == pytest.approx(1.5)
    assert (values["load ms"], values["first ms"], values["peak MB"], values["above runtime MB"]) == ALONE
    assert (values["file MB"], values["M parameters"], values["GMAC"], values["Dice"]) == (3.0, 2.0, 1.0, 0.9)
