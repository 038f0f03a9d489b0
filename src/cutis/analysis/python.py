"""`from cutis import analyze`: what the command line does, from Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from cutis.analysis.batch import Options, analyze_files, analyze_to_folder
from cutis.analysis.cascade import choose_cascade
from cutis.analysis.pipeline import analyze_image
from cutis.analysis.prompted import correction_of
from cutis.analysis.runtime import Segmenter, load_model
from cutis.analysis.runtimes import DEFAULT_RUNTIME
from cutis.imaging.formats import shown
from cutis.imaging.read import find_images
from cutis.records import Analysis

__all__ = ["analyze"]

One = str | os.PathLike[str] | bytes | NDArray[np.uint8]


@overload
def analyze(
    source: Sequence[str | os.PathLike[str]],
    *,
    model: str | os.PathLike[str] | Segmenter | None = None,
    symmetry_model: str | os.PathLike[str] | None = None,
    class_model: str | os.PathLike[str] | None = None,
    cascade: bool = True,
    box: Sequence[float] | None = None,
    points: Sequence[Sequence[float]] = (),
    not_points: Sequence[Sequence[float]] = (),
    refine: str | os.PathLike[str] | bool = False,
    hair_removal: bool = False,
    mm_per_pixel: float | None = None,
    output: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    runtime: str = DEFAULT_RUNTIME,
) -> list[Analysis]: ...


@overload
def analyze(
    source: One,
    *,
    model: str | os.PathLike[str] | Segmenter | None = None,
    symmetry_model: str | os.PathLike[str] | None = None,
    class_model: str | os.PathLike[str] | None = None,
    cascade: bool = True,
    box: Sequence[float] | None = None,
    points: Sequence[Sequence[float]] = (),
    not_points: Sequence[Sequence[float]] = (),
    refine: str | os.PathLike[str] | bool = False,
    hair_removal: bool = False,
    mm_per_pixel: float | None = None,
    output: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    runtime: str = DEFAULT_RUNTIME,
) -> Analysis | list[Analysis]: ...


def analyze(
    source: One | Sequence[str | os.PathLike[str]],
    *,
    model: str | os.PathLike[str] | Segmenter | None = None,
    symmetry_model: str | os.PathLike[str] | None = None,
    class_model: str | os.PathLike[str] | None = None,
    cascade: bool = True,
    box: Sequence[float] | None = None,
    points: Sequence[Sequence[float]] = (),
    not_points: Sequence[Sequence[float]] = (),
    refine: str | os.PathLike[str] | bool = False,
    hair_removal: bool = False,
    mm_per_pixel: float | None = None,
    output: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    runtime: str = DEFAULT_RUNTIME,
) -> Analysis | list[Analysis]:
    """Analyse one image, a folder, or several paths.

    `source`: the path of an image, its bytes, or its pixels, (H, W, 3) uint8 RGB, gives one `Analysis` and raises
    `CutisError` for what is no image. A folder, or a list of files and folders, gives a list in order, in which a bad
    file is an `Analysis` with status 'failed'. With `output` (paths only), results.jsonl, masks, overlays and
    report.html are written there as `cutis analyze` does. `mm_per_pixel` is the scale of the full-size picture.

    Where a lesion is found, the symmetry and the class network answer too: those that come with cutis, where they do,
    or `symmetry_model` and `class_model`, exported files; none with `cascade=False`. `runtime` is what runs them:
    'onnxruntime', 'openvino', 'openvino-bf16' or 'fastest'.

    The outline is corrected by a promptable network where a person says where the lesion is: in the `box` (x0, y0, x1,
    y1), at `points` (x, y), and not at `not_points`, in pixels of the picture as a person sees it. With `refine` it is
    asked by the network's own outline: True for the promptable that comes with cutis, or an exported encoder's file.

    Research use only, never a diagnosis.

    >>> from cutis.data.synthetic import draw_lesion
    >>> drawn = draw_lesion(np.random.default_rng(3), width=320, height=240, symmetry=2)
    >>> analysis = analyze(drawn.image, mm_per_pixel=0.05)
    >>> analysis.status, analysis.lesion.diameter_mm is not None
    ('lesion', True)
    >>> analyze(drawn.image, box=(60, 40, 260, 200)).refined.asked_by
    'person'
    """
    network = model if isinstance(model, Segmenter) else load_model(model, runtime=runtime)
    networks = choose_cascade(symmetry_model, class_model, cascade, runtime=runtime)
    correction = correction_of(box, points, not_points, refine, runtime=runtime)
    options = Options(
        cascade=networks, hair_removal=hair_removal, mm_per_pixel=mm_per_pixel, workers=workers, correction=correction
    )
    if output is not None:
        if isinstance(source, (bytes, np.ndarray)):
            raise TypeError("output= needs a path as source: pixels and bytes have no name to call their mask by")
        paths = _paths(source)
        records = list(analyze_to_folder(paths, Path(output), network, options, resume=False))
        return records[0] if _is_one(source) else records
    one = partial(
        analyze_image, model=network, cascade=networks, hair_removal=hair_removal, mm_per_pixel=mm_per_pixel,
        correction=correction,
    )  # fmt: skip
    if isinstance(source, (bytes, np.ndarray)):
        return one(source, name="bytes" if isinstance(source, bytes) else "array").analysis
    if _is_one(source):
        path = _paths(source)[0]
        return one(path, name=shown(path)).analysis
    found = [path for path, _ in find_images(_paths(source))]
    return list(analyze_files(found, network, options))


def _paths(source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    return [Path(source)] if isinstance(source, (str, os.PathLike)) else [Path(path) for path in source]


def _is_one(source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> bool:
    return isinstance(source, (str, os.PathLike)) and not Path(source).is_dir()
