"""Put exported files into the package: copies them to src/cutis/weights and writes models.json with their hashes.

python benchmarks/bundle.py exported-segmenter exported-cascade      # each the --output of a `cutis export`

What was there before and is not in these folders goes out of the list.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

from cutis.analysis.classifier import LesionClassifier, SymmetryClassifier, load_lesion, load_symmetry
from cutis.analysis.prompted import PromptableModel, load_promptable_model
from cutis.analysis.runtime import Segmenter, load_model
from cutis.export.parity import open_session
from cutis.files import atomic_write

WEIGHTS = Path(__file__).parents[1] / "src" / "cutis" / "weights"


OPEN: dict[str, Callable[[Path], Segmenter | SymmetryClassifier | LesionClassifier | PromptableModel]] = {
    "segmentation": load_model,
    "symmetry": load_symmetry,
    "lesion_class": load_lesion,
    "prompt-encoder": load_promptable_model,
    "prompt-decoder": lambda path: load_promptable_model(path.with_name(path.name.replace("decoder", "encoder"))),
}


def main(*exported: Path) -> None:
    listing = {}
    for path in sorted((path for folder in exported for path in folder.glob("*.onnx")), key=lambda path: path.name):
        task = open_session(path).get_modelmeta().custom_metadata_map.get("cutis.task", "segmentation")
        info = OPEN[task](path).info  # refuses what the analysis would refuse
        content = path.read_bytes()
        atomic_write(WEIGHTS / path.name, content)
        listing[path.stem] = {
            "file": path.name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "version": info.version,
            "task": task,
        }
    atomic_write(WEIGHTS / "models.json", json.dumps(listing, indent=1) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
