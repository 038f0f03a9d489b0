"""`--store FOLDER`: each answered image as a folder of its own, named by its id: record.json and its pictures."""

from __future__ import annotations

from pathlib import Path

from cutis.analysis.pictures import name_pictures
from cutis.files import atomic_write
from cutis.imaging.formats import reason
from cutis.records import Analysis
from cutis.serve.problems import ProblemError

__all__ = ["store"]


def store(folder: Path, identity: str, record: bytes, pictures: dict[str, bytes]) -> None:
    """Write the record, with the names of the files beside it, and the pictures (name -> PNG)."""
    named = name_pictures(Analysis.model_validate_json(record), lambda name: f"{name}.png")
    try:
        for name, png in pictures.items():
            atomic_write(folder / identity / f"{name}.png", png)
        atomic_write(folder / identity / "record.json", named.model_dump_json() + "\n")
    except OSError as error:
        raise ProblemError(507, f"the result cannot be stored ({reason(error)})", name="storage-full") from error
