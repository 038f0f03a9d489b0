"""What a segmentation adds to the memory of the program that was loaded: at most 64 MB, for a device that has little.

Measured: 42 MB at 1024x768, 46 at 2048x1536. Python with onnxruntime and OpenCV takes 63 MB and the other libraries 26,
which are not counted here.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cutis.analysis.runtime import list_models

BUDGET_MB = 64
_CHILD = """
import sys
import cv2, onnxruntime
from cutis.analysis.pipeline import analyze_image
from cutis.analysis.runtime import load_model
def peak_mb():
    return int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
cv2.setNumThreads(1)
before = peak_mb()
model = load_model()
for _ in range(3):
    found = analyze_image(open(sys.argv[1], "rb").read(), model, name="drawn.jpg")
print(found.analysis.status, peak_mb() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process does not tell its own peak alone")
@pytest.mark.skipif(not list_models(), reason="no weights in this tree yet")
@pytest.mark.parametrize("size", [(1024, 768), (2048, 1536)])
def test_a_segmentation_stays_within_its_budget(tmp_path: Path, size: tuple[int, int]) -> None:
    from cutis.benchmark.pipeline import drawn_jpeg

    picture = tmp_path / "drawn.jpg"
    picture.write_bytes(drawn_jpeg(*size, 90, 5))
    words = [sys.executable, "-c", _CHILD, str(picture)]
    status, above = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    print(f"{size}: {above} MB")
    assert status == "lesion"
    assert 5 < float(above) < BUDGET_MB
