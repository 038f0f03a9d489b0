"""`python -m cutis.page FOLDER`: write the page's models, graphs, manifest and drawn example. `make page` calls it."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from cutis.data.synthetic import draw_lesion
from cutis.page.manifest import write

EXAMPLE_SEED = 11


def main(folder: Path) -> None:
    """Into `folder`: models/ and example.jpg, a drawn lesion to try the page with."""
    manifest = write(folder / "models")
    drawn = draw_lesion(np.random.default_rng(EXAMPLE_SEED), width=1024, height=768, symmetry=1, tone=0.1)
    done = cv2.imwrite(str(folder / "example.jpg"), cv2.cvtColor(drawn.image, cv2.COLOR_RGB2BGR))
    assert done
    print(f"{folder}: {len(manifest['models'])} networks and {len(manifest['graphs'])} graphs around them")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
