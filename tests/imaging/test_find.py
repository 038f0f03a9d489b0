"""Finding images: order, what is taken and what is passed over, relative paths that never collide."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from cutis.errors import CutisError
from cutis.imaging.read import find_images


def image(path: Path, kind: str = "PNG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3)).save(path, kind)
    return path


def names(found) -> list[str]:
    return [relative.as_posix() for _, relative in found]


def test_a_folder_is_searched_to_its_depth_in_sorted_order(tmp_path):
    for name in ("b.JPG", "a.png", "deep/er/z.webp", "deep/c.tif", "病变.jpeg"):
        image(tmp_path / name)
    found = find_images([tmp_path])
    assert names(found) == ["a.png", "b.JPG", "病变.jpeg", "deep/c.tif", "deep/er/z.webp"]
    assert all(path == tmp_path / relative for path, relative in found)


def test_hidden_and_other_files_are_passed_over_and_broken_images_are_not(tmp_path):
    image(tmp_path / "a.png")
    image(tmp_path / ".hidden.png")
    image(tmp_path / ".cache" / "b.png")
    image(tmp_path / "IMD003")  # an image whose name does not say so
    (tmp_path / "labels.csv").write_text("BM,1\n")
    (tmp_path / "broken.jpg").write_text("not an image")
    (tmp_path / "moving.gif").write_bytes(b"GIF89a")
    assert names(find_images([tmp_path])) == ["IMD003", "a.png", "broken.jpg", "moving.gif"]


def test_files_are_taken_in_the_order_given_whatever_they_are_called(tmp_path):
    (tmp_path / "notes.txt").write_text("text")
    given = [image(tmp_path / "b.png"), tmp_path / "notes.txt", image(tmp_path / ".a.png")]
    assert find_images(given) == [(path, Path(path.name)) for path in given]


def test_relative_paths_are_unique(tmp_path):
    for folder in ("one", "two", "other/two"):
        image(tmp_path / folder / "1.png")
    found = find_images([tmp_path / "one", tmp_path / "two", tmp_path / "other" / "two", tmp_path / "one" / "1.png"])
    assert names(found) == ["1.png", "two/1.png", "two-2/1.png"]


def test_names_that_some_systems_take_for_one_do_not_collide(tmp_path):
    found = find_images([image(tmp_path / "one" / "A.png"), image(tmp_path / "two" / "a.PNG")])
    assert names(found) == ["A.png", "two/a.PNG"]


@pytest.mark.parametrize("content", [[], ["notes.txt"], [".hidden.png"], ["empty/folder/.keep"]])
def test_a_folder_without_images_is_refused(content, tmp_path):
    for name in content:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(CutisError, match="has no image in it") as caught:
        find_images([tmp_path])
    assert str(tmp_path) in str(caught.value)


def test_nothing_and_what_does_not_exist_are_refused(tmp_path):
    with pytest.raises(CutisError, match="no image given"):
        find_images([])
    with pytest.raises(CutisError, match=r"none\.png does not exist"):
        find_images([tmp_path / "none.png"])
    with pytest.raises(CutisError, match="does not exist"):
        find_images([Path("a\0b")])
