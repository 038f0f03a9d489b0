"""`cutis demo`: lesions drawn, analysed as photos are, and compared with the masks they were drawn from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cutis.analysis.batch import Options, analyze_to_folder
from cutis.analysis.cascade import choose_cascade
from cutis.analysis.runtime import load_model
from cutis.data.synthetic import write_folder
from cutis.errors import CutisError
from cutis.imaging.read import read_mask
from cutis.metrics.overlap import count, dice
from cutis.records import Analysis

__all__ = ["run"]

COUNT = 3
SEED = 7


def run(output: Path, say: Callable[[str], None]) -> int:
    """Draw into `output`/drawn, analyse into `output`, say what was found and where the report is.

    Answers 0, or 1 where a lesion was not analysed. Raises `CutisError` where `output` cannot be written.
    """
    model = load_model()
    options = Options(cascade=choose_cascade(None, None, True))
    drawn = output / "drawn"
    try:
        write_folder(drawn, COUNT, SEED)
    except OSError as error:
        raise CutisError(f"{drawn} cannot be written ({error.strerror}): choose another --output") from error
    records = list(analyze_to_folder([drawn / "images"], output, model, options, resume=False))
    for record in records:
        say(_line(record, drawn / "masks", output))
    say(f"Drawn lesions, not photographs. For your own: cutis analyze FOLDER --output {output.name}-mine")
    say(f"Report: {(output / 'report.html').resolve()}")
    return int(any(record.status == "failed" for record in records))


def _line(record: Analysis, truths: Path, output: Path) -> str:
    name = Path(record.file).name
    if record.status == "failed":
        return f"{name}: {record.error}"
    if record.lesion is None or record.lesion.mask is None:
        return f"{name}: no lesion found"
    truth = read_mask(truths / Path(name).with_suffix(".png"))
    overlap = float(dice(count(read_mask(output / record.lesion.mask), truth)))
    milliseconds = sum(record.times_ms.values())
    return (
        f"{name}: lesion on {record.lesion.area_share:.0%} of the picture, {milliseconds:.0f} ms; "
        f"Dice {overlap:.3f} with the mask it was drawn from"
    )
