"""The drawn trees are read by the readers of the real ones."""

from __future__ import annotations

from collections import Counter

from cutis.data.catalogue import open_dataset, recognise
from cutis.data.labels import LESION_CLASSES
from cutis.experiments.drawn import write_tree


def test_the_readers_read_what_is_drawn(tmp_path):
    root = write_tree(tmp_path, 1, lesions=6)
    assert set(recognise(root)) == {"ham10000", "symderm_v2", "isic2019", "isic2016"}
    ham, symmetry, external, binary = (
        open_dataset(root, name) for name in ("ham10000", "symderm_v2", "isic2019", "isic2016")
    )
    assert Counter(sample.label for sample in ham) == dict.fromkeys(LESION_CLASSES, 9)
    assert len({sample.group for sample in ham}) == 42 and all(sample.mask for sample in ham)
    assert {sample.id for sample in symmetry} == {sample.id for sample in ham}
    assert set(Counter(sample.symmetry for sample in symmetry)) == {0, 1, 2}
    assert {sample.label for sample in external} == {*LESION_CLASSES, "scc"}
    assert 0 < len({s.id for s in external} & {s.id for s in ham}) < len(external)
    assert Counter(sample.label for sample in binary) == {"benign": 12, "malignant": 12}


def test_the_same_seed_draws_the_same(tmp_path):
    one, two = (write_tree(tmp_path / name, 5, lesions=2) for name in "ab")
    for path in sorted(one.rglob("*.*")):
        assert path.read_bytes() == (two / path.relative_to(one)).read_bytes()
