"""Put exported files into the package: copies them to src/cutis/weights and writes models.json with their hashes.

python benchmarks/bundle.py exported      # the --output of `cutis export`
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from cutis.analysis.runtime import load_model
from cutis.files import atomic_write

WEIGHTS = Path(__file__).parents[1] / "src" / "cutis" / "weights"


def main(exported: Path) -> None:
    listing = {}
    for path in sorted(exported.glob("*.onnx")):
        info = load_model(path).info  # refuses what the analysis would refuse
        content = path.read_bytes()
        atomic_write(WEIGHTS / path.name, content)
        listing[path.stem] = {"file": path.name, "sha256": hashlib.sha256(content).hexdigest(), "version": info.version}
    atomic_write(WEIGHTS / "models.json", json.dumps(listing, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
