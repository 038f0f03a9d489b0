"""The exported symmetry network as a source of maps: what the lesion network is calibrated and judged with.

SE-LCN, Sec. 4.1.3. The lesion network is fed with the map of the file that stands before it on the device, so its own
file is fitted to that one's maps: INT8 after INT8, fp32 after fp32, where both are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cutis.errors import CutisError
from cutis.export.parity import open_session
from cutis.imaging.lesion_area import Masking, prepare_classifier_image
from cutis.imaging.preprocessing import Preprocessing

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["SymmetryFile", "for_precisions", "open_symmetry_file"]


@dataclass(frozen=True)
class SymmetryFile:
    """`map_shape`: (h, w) of the map it gives."""

    path: Path
    precision: str
    preprocessing: Preprocessing
    masking: Masking
    map_shape: tuple[int, int]
    session: onnxruntime.InferenceSession

    def map_of(self, picture: NDArray[np.uint8], mask: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        """(H, W, 3) uint8 and its mask -> (1, h, w), the map of the likeliest symmetry."""
        square = prepare_classifier_image(picture, mask, self.preprocessing, self.masking)
        return self.session.run(["activation"], {"image": square[None]})[0][0]


def open_symmetry_file(path: Path) -> SymmetryFile:
    """The file at `path`; CutisError if it is no symmetry network exported by cutis."""
    if not path.is_file():
        raise CutisError(f"{path} is not there: export the symmetry network first, then give its ONNX file")
    try:
        session = open_session(path)
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise CutisError(f"{path} is no model that can be opened: export the symmetry network again") from error
    facts = session.get_modelmeta().custom_metadata_map
    if facts.get("cutis.task") != "symmetry":
        raise CutisError(f"{path} is not a symmetry network exported by cutis: give the ONNX file of one")
    height, width = next(entry.shape[2:] for entry in session.get_outputs() if entry.name == "activation")
    return SymmetryFile(
        path,
        facts["cutis.precision"],
        Preprocessing.model_validate_json(facts["cutis.preprocessing"]),
        facts["cutis.masking"],
        (height, width),
        session,
    )


def for_precisions(files: Sequence[SymmetryFile]) -> dict[str, SymmetryFile]:
    """'fp32' and 'int8' -> the file of that precision, or the only one there is."""
    if len({file.map_shape for file in files}) > 1:
        raise CutisError("the symmetry models give maps of different sizes: give the files of one network")
    by_precision = {file.precision: file for file in files}
    if len(by_precision) < len(files):
        raise CutisError("two symmetry models of one precision are given: give one in fp32 and one in INT8")
    return {precision: by_precision.get(precision, files[0]) for precision in ("fp32", "int8")}
