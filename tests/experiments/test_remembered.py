"""What an experiment's folder remembers: part of it, made in addition, does not hide the rest."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from cutis.errors import CutisError
from cutis.experiments.remembered import read_remembered, remember


class Settings(BaseModel):
    base: dict[str, int] = {"size": 96}
    name: str = "grid"
    rows: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (1,)
    labelled: dict[str, tuple[float, ...]] = {}


GROWING = {"name", "rows", "seeds", "labelled"}


def test_parts_add_up(tmp_path):
    path = tmp_path / "grid.yaml"
    remember(path, Settings(rows=("a", "b"), seeds=(1, 2), labelled={"x": (5, 10)}), None, may_grow=GROWING)
    more = Settings(name="more", rows=("c", "a"), seeds=(3,), labelled={"x": (50,), "y": (75,)})
    remember(path, more, read_remembered(path, Settings, "grid"), may_grow=GROWING)
    found = read_remembered(path, Settings, "grid")
    assert (found.name, found.rows, found.seeds) == ("more", ("a", "b", "c"), (1, 2, 3))
    assert found.labelled == {"x": (5, 10, 50), "y": (75,)}


def test_another_configuration_leaves_what_is_there(tmp_path):
    path = tmp_path / "grid.yaml"
    remember(path, Settings(), None, may_grow=GROWING)
    before = path.read_bytes()
    with pytest.raises(CutisError, match=r"another configuration \(base\): give another --output"):
        remember(path, Settings(base={"size": 64}), Settings(), may_grow=GROWING)
    assert path.read_bytes() == before
    with pytest.raises(CutisError, match="holds no grid"):
        read_remembered(tmp_path / "none.yaml", Settings, "grid")
