"""Splits: lesions stay together, nothing moves when data comes or goes, papers' counts come out."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutis.data.samples import Sample
from cutis.data.splits import crossing, deal, kfold, lesions, official, split
from cutis.errors import CutisError

FRACTIONS = {"train": 0.7, "validation": 0.1, "test": 0.2}


def picture(id: str, dataset: str = "a", group: str = "", label: str | None = None, split: str | None = None) -> Sample:
    return Sample(id=id, image=Path(f"{dataset}/{id}.jpg"), dataset=dataset, group=group, label=label, split=split)


# Image n shows lesion n // 3 wherever the data set names lesions; data set "b" holds some of the same images.
known = st.builds(
    lambda n, dataset, label: picture(f"IMG_{n}", dataset, f"lesion_{n // 3}", label),
    st.integers(0, 200), st.sampled_from("ab"), st.sampled_from(["nevus", "melanoma", None]),
)  # fmt: skip
# Groups that link any image with any other, in chains.
tangled = st.builds(
    lambda n, dataset, group: picture(f"IMG_{n}", dataset, f"g{group}" if group else ""),
    st.integers(0, 40), st.sampled_from("abc"), st.integers(0, 30),
)  # fmt: skip


def many(samples: st.SearchStrategy[Sample]) -> st.SearchStrategy[list[Sample]]:
    return st.lists(samples, max_size=80, unique_by=lambda sample: (sample.dataset, sample.id))


def side_of(parts: dict[str, tuple[Sample, ...]]) -> dict[tuple[str, str], str]:
    return {(sample.dataset, sample.id): name for name, part in parts.items() for sample in part}


@settings(deadline=None)
@given(many(known), st.data(), st.integers(0, 5))
def test_removing_samples_moves_no_other(samples: list[Sample], data: st.DataObject, seed: int) -> None:
    kept = [sample for sample in samples if data.draw(st.booleans())]
    before, after = side_of(split(samples, FRACTIONS, seed)), side_of(split(kept, FRACTIONS, seed))
    assert after == {name: before[name] for name in after}
    assert len(after) == len(kept)


@settings(deadline=None)
@given(many(tangled), st.sampled_from([split, deal]), st.integers(0, 5))
def test_what_shares_a_lesion_or_an_image_is_on_one_side(samples: list[Sample], divide, seed: int) -> None:
    parts = divide(samples, FRACTIONS, seed)
    side = side_of(parts)
    assert len(side) == len(samples) == sum(map(len, parts.values()))
    for one in samples:
        for other in samples:
            if one.group == other.group or one.id == other.id:
                assert side[one.dataset, one.id] == side[other.dataset, other.id]
    assert crossing(parts) == {}


@settings(deadline=None)
@given(many(tangled), st.sampled_from([split, deal]), st.randoms(use_true_random=False))
def test_the_order_of_the_samples_does_not_matter(samples: list[Sample], divide, random) -> None:
    shuffled = random.sample(samples, len(samples))
    assert divide(shuffled, FRACTIONS, 3) == divide(samples, FRACTIONS, 3)


@pytest.mark.parametrize("divide", [split, deal])
def test_the_order_of_the_shares_does_not_matter(divide) -> None:
    """A YAML file whose keys were sorted would otherwise put training images on the test side, without a word."""
    samples = [picture(f"IMG_{n}", label="ab"[n % 2]) for n in range(60)]
    wanted = divide(samples, FRACTIONS, 5)
    for names in permutations(FRACTIONS):
        assert divide(samples, {name: FRACTIONS[name] for name in names}, 5) == wanted


def test_the_split_is_written_in_stone() -> None:
    """These ids were divided once; a change of the hash would silently make test images training images."""
    parts = split([picture(f"ISIC_{n:07}") for n in range(20)], {"train": 0.85, "validation": 0.05, "test": 0.10}, 0)
    assert [sample.id for sample in parts["test"]] == ["ISIC_0000012", "ISIC_0000014"]
    assert [sample.id for sample in parts["validation"]] == ["ISIC_0000000"]


def test_another_process_divides_alike() -> None:
    """Python's own string hash differs between processes; the split must not."""
    code = (
        "from pathlib import Path; from cutis.data.samples import Sample; from cutis.data.splits import split;"
        "s = [Sample(id=f'i{n}', image=Path('x')) for n in range(50)];"
        "print(*[x.id for x in split(s, {'a': 0.5, 'b': 0.5}, 9)['b']])"
    )
    here = split([Sample(id=f"i{n}", image=Path("x")) for n in range(50)], {"a": 0.5, "b": 0.5}, 9)["b"]
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.split() == [sample.id for sample in here]


def test_shares_hold_on_average() -> None:
    samples = [picture(f"IMG_{n}", group=f"lesion_{n // 2}", label="ab"[n % 4 // 2]) for n in range(8000)]
    for label in "ab":
        parts = split([sample for sample in samples if sample.label == label], FRACTIONS, 4)
        for name, fraction in FRACTIONS.items():
            deviation = 2 * (2000 * fraction * (1 - fraction)) ** 0.5
            assert abs(len(parts[name]) - 4000 * fraction) < 4 * deviation


def test_another_seed_divides_otherwise() -> None:
    samples = [picture(f"IMG_{n}") for n in range(100)]
    assert split(samples, FRACTIONS, 0) != split(samples, FRACTIONS, 1)
    assert deal(samples, FRACTIONS, 0) != deal(samples, FRACTIONS, 1)


@pytest.mark.parametrize("counts", [(1811, 259, 524), (140, 20, 40), (1, 1, 1)])
def test_counts_come_out_exactly(counts: tuple[int, int, int]) -> None:
    wanted = dict(zip(("train", "validation", "test"), counts, strict=True))
    parts = deal([picture(f"IMG_{n}") for n in range(sum(counts))], wanted, 0)
    assert {name: len(part) for name, part in parts.items()} == wanted


def test_classes_keep_their_shares_when_dealt() -> None:
    labels = {"nevus": 800, "melanoma": 150, "other": 50}
    samples = [picture(f"{label}_{n}", label=label) for label, count in labels.items() for n in range(count)]
    parts = deal(samples, FRACTIONS, 0)
    for label, count in labels.items():
        for name, fraction in FRACTIONS.items():
            assert abs(sum(sample.label == label for sample in parts[name]) - count * fraction) < 2


def test_each_sample_is_held_out_once() -> None:
    samples = [picture(f"IMG_{n}", group=f"lesion_{n // 3}", label="ab"[n // 3 % 5 == 0]) for n in range(300)]
    folds = kfold(samples, 4, 0)
    assert Counter(sample.id for _, held_out in folds for sample in held_out) == Counter(s.id for s in samples)
    for training, held_out in folds:
        assert crossing({"training": training, "held out": held_out}) == {}
        assert len(training) + len(held_out) == len(samples)
        assert abs(sum(sample.label == "b" for sample in held_out) - 15) <= 3


def test_a_lesion_on_both_sides_is_named() -> None:
    parts = {
        "train": [picture("IMG_1", group="lesion_1"), picture("IMG_3", "a")],
        "test": [picture("IMG_2", group="lesion_1"), picture("IMG_3", "b"), picture("IMG_4")],
    }
    assert crossing(parts) == {"IMG_3": ("test", "train"), "lesion_1": ("test", "train")}


def test_lesions_join_through_a_chain() -> None:
    chain = [picture("1", "a", "x"), picture("1", "b", "y"), picture("2", "b", "y"), picture("3", "b", "z")]
    assert sorted(len(lesion) for lesion in lesions(chain)) == [1, 3]


def test_an_image_id_is_no_lesion_id() -> None:
    assert len(lesions([picture("7", "a", "lesion"), picture("8", "a", "7b")])) == 2


def test_official_split() -> None:
    samples = [picture("1", split="train"), picture("2", split="test")]
    assert {name: [s.id for s in part] for name, part in official(samples).items()} == {"train": ["1"], "test": ["2"]}
    with pytest.raises(CutisError, match="no official split for 3"):
        official([*samples, picture("3")])


@pytest.mark.parametrize("fractions", [{}, {"train": 0.5}, {"train": 1.5, "test": -0.5}, {"train": 0.0}])
def test_wrong_fractions_are_refused(fractions: dict[str, float]) -> None:
    with pytest.raises(CutisError, match="fractions"):
        split([picture("1")], fractions, 0)


@pytest.mark.parametrize("k", [1, 5])
def test_wrong_number_of_folds_is_refused(k: int) -> None:
    with pytest.raises(CutisError, match="folds"):
        kfold([picture(str(n)) for n in range(4)], k, 0)
