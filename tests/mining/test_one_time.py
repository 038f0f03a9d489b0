"""One-time pseudo-labels: files that say where each came from, completed when cut off, refused when others'."""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

sys.path.insert(0, str(Path(__file__).parent))
from mining_toy import SIDE, STEPS, Dark, drawn  # noqa: E402

from cutis.errors import CutisError  # noqa: E402
from cutis.imaging.read import read_mask  # noqa: E402
from cutis.metrics.overlap import count, dice  # noqa: E402
from cutis.mining.one_time import LabelManifest, make_labels, open_labels  # noqa: E402
from cutis.mining.settings import Gates, PromptSettings  # noqa: E402

HOW = PromptSettings(points=2, box=True, mask=False, objects="one")
OPEN = Gates(score=None, agreement=None)
PLACES = (1, 2, 4, 5)


class Student(torch.nn.Module):
    """Finds what is dark by its own light; nothing at all in the third picture it is shown."""

    def __init__(self):
        super().__init__()
        self.shown = 0

    def forward(self, image):
        logits = -image.mean(1, keepdim=True) - 0.1
        for index in range(len(image)):
            if self.shown == 2:
                logits[index] = -5
            self.shown += 1
        return logits


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("drawn"), 6)


def make(cache, home, network=None, batch=2, progress=lambda done, total: None, **changes):
    promptable = Dark()

    def embed(places):
        squares = np.stack([cache.images[where] for where in places])
        return promptable.embed(torch.from_numpy(squares).permute(0, 3, 1, 2).float() / 255).half()

    facts = {
        "images": cache.key, "positions": PLACES, "student": "s", "teacher": "dark", "fingerprint": "f",
        "prompts": HOW, "seed": 3,
    }  # fmt: skip
    return make_labels(
        network or Student(), STEPS, promptable, embed, cache, home, LabelManifest(**facts | changes), batch=batch,
        device="cpu", progress=progress,
    )  # fmt: skip


def test_every_image_has_a_row_with_where_its_prompts_were_and_what_came_of_them(cache, tmp_path):
    labels = make(cache, tmp_path)
    with (tmp_path / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == [cache.samples[where].id for where in PLACES]
    assert [row["objects"] for row in rows] == ["1", "1", "0", "1"] and labels.empty == 1
    assert rows[2]["points"] == rows[2]["boxes"] == "" and math.isnan(float(rows[2]["score"]))
    for row, where in zip(rows, PLACES, strict=True):
        if row["objects"] == "0":
            continue
        assert float(row["score"]) == 0.9 and len(row["points"].split("; ")) == 2
        x0, y0, x1, y1 = (float(number) for number in row["boxes"].split())
        assert 0 <= x0 <= x1 < SIDE and 0 <= y0 <= y1 < SIDE
        mask = read_mask(tmp_path / "masks" / "folder" / f"{row['id']}.png")
        truth = cache.frames[where].crop(np.asarray(cache.masks[where])) > 0
        assert mask.shape == truth.shape == (24, 32)  # the picture without its bars
        assert float(row["dice"]) == pytest.approx(float(dice(count(mask, truth))), abs=1e-4)
        assert np.array_equal(cache.frames[where].crop(labels.square(where)) > 0, mask)
    assert not labels.square(PLACES[2]).any()
    assert labels.used(OPEN).tolist() == [False, True, True, False, False, True]
    assert not labels.used(Gates(score=0.95, agreement=None)).any()


def test_a_folder_that_was_cut_off_is_completed_and_a_whole_one_is_taken(cache, tmp_path):
    make(cache, tmp_path / "whole")

    def cut(done, total):
        raise KeyboardInterrupt

    student = Student()
    with pytest.raises(KeyboardInterrupt):
        make(cache, tmp_path / "cut", student, progress=cut)
    with pytest.raises(CutisError, match="was cut off: 2 of 4"):
        open_labels(tmp_path / "cut", cache)
    told = []
    make(cache, tmp_path / "cut", student, progress=lambda *numbers: told.append(numbers))
    assert told == [(4, 4)] and student.shown == 4  # each image once
    for name in ("labels.csv", "manifest.json", f"masks/folder/{cache.samples[5].id}.png"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    make(cache, tmp_path / "cut", student)
    assert student.shown == 4


def test_pseudo_labels_of_something_else_are_refused(cache, tmp_path):
    make(cache, tmp_path)
    for changes in [{"student": "t"}, {"fingerprint": "g"}, {"prompts": HOW.model_copy(update={"points": 3})}]:
        with pytest.raises(CutisError, match="of other images, networks or prompts"):
            make(cache, tmp_path, **changes)
    (tmp_path / "labels.csv").write_text("dataset,id\nfolder,x\n")
    with pytest.raises(CutisError, match="is not as it was written"):
        open_labels(tmp_path, cache)
