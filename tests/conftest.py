"""What all tests share: where the research data is, and that it is asked for by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("cutis", deadline=None)  # a busy machine is no failure
settings.load_profile("cutis")


def research_data() -> Path | None:
    """The unpacked data folder: CUTIS_DATA, or `.data` in the repository."""
    for folder in (os.environ.get("CUTIS_DATA"), Path(__file__).parents[1] / ".data"):
        if folder and Path(folder).is_dir():
            return Path(folder)
    return None


@pytest.fixture(scope="session")
def data_root() -> Path:
    folder = research_data()
    if folder is None:
        if os.environ.get("CUTIS_REQUIRE_DATA"):
            pytest.fail("the research data is required here: unpack it to .data or set CUTIS_DATA")
        pytest.skip("no research data: unpack it to .data or set CUTIS_DATA")
    return folder
