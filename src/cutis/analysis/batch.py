"""Many images to one output folder: results.jsonl, masks/, overlays/, maps/, report.html.

Threads, one image each, share one resident network: decoding, onnxruntime and OpenCV all run outside Python's lock,
and a process each would cost 100 MB each. What is in hand is bounded, so memory does not grow with the folder; what
is done is put back into input order.
"""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from cutis import __version__
from cutis.analysis.cascade import Cascade
from cutis.analysis.names import key, targets, unused
from cutis.analysis.overlay import draw_map, draw_outline, encode_jpeg, encode_png, shrink
from cutis.analysis.pictures import name_pictures
from cutis.analysis.pipeline import NO_CASCADE, Outcome, Source, analyze_image
from cutis.analysis.prompted import Correction
from cutis.analysis.report import Pictures, Report
from cutis.analysis.results import Results, same_settings
from cutis.analysis.runtime import Segmenter
from cutis.analysis.runtimes import DEFAULT_RUNTIME
from cutis.errors import CutisError
from cutis.files import atomic_write
from cutis.imaging.formats import reason, shown
from cutis.imaging.read import find_images, read_image, write_mask
from cutis.records import Analysis

__all__ = [
    "MAX_WORKERS",
    "Options",
    "StoppedError",
    "analyze_files",
    "analyze_or_fail",
    "analyze_to_folder",
    "cores",
    "single_threaded_opencv",
]

MAX_WORKERS = 16  # measured on 1024x768 photos with the bundled model: 2 workers 167 MB, 16 workers 310 MB
WINDOW = 4  # images in hand a worker: enough that one slow photo does not make the others wait
THUMBNAIL_SIDE = 480
MAP_THUMBNAIL_SIDE = 320
FOLDERS = ("masks", "overlays", "maps")


@dataclass(frozen=True)
class Options:
    """How every image of a run is analysed. `mm_per_pixel` is the scale of the full-size picture, where it is known;
    `cascade` holds the symmetry and lesion networks to ask, `correction` what a promptable network is asked."""

    cascade: Cascade = NO_CASCADE
    hair_removal: bool = False
    mm_per_pixel: float | None = None
    workers: int | None = None
    correction: Correction | None = None

    def __post_init__(self) -> None:
        if self.mm_per_pixel is not None and not 0 < self.mm_per_pixel < 100:
            raise CutisError(f"{self.mm_per_pixel} mm a pixel is no scale: give millimetres a pixel, for example 0.02")
        if self.workers is not None and self.workers < 1:
            raise CutisError(f"{self.workers} workers cannot work: give 1 or more")


class StoppedError(CutisError):
    """The output cannot be written any more: the run ends, what is done is kept. Exit code 1."""

    exit_code = 1


class _Job(NamedTuple):
    path: Path
    name: str
    target: PurePosixPath


class _Done(NamedTuple):
    analysis: Analysis
    pictures: Pictures


def cores() -> int:
    """Processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def analyze_files(paths: Sequence[Path], model: Segmenter, options: Options) -> Iterator[Analysis]:
    """Records of many files, in their order, nothing written; a bad file is a record with status 'failed'."""

    def one(path: Path) -> Analysis:
        outcome = analyze_or_fail(path, shown(path), model, options)
        return outcome.analysis if isinstance(outcome, Outcome) else outcome

    yield from _in_order(one, paths, options.workers)


def analyze_to_folder(
    inputs: Sequence[Path],
    output: Path,
    model: Segmenter,
    options: Options,
    *,
    resume: bool,
    begin: Callable[[int, int], None] = lambda total, kept: None,
) -> Iterator[Analysis]:
    """Analyse files and folders into `output`; yields the records in input order as they are written.

    `begin` hears how many images there are and how many of them an earlier run has finished. Raises `CutisError` for a
    wrong call before anything is analysed, `StoppedError` when the output fills up.
    """
    found = [(path, relative) for path, relative in find_images(inputs) if not _inside(path, output)]
    if not found:
        raise CutisError(f"every image named lies in the output folder {shown(output)}: choose another --output")
    if options.correction and options.correction.by_person and len(found) > 1:
        raise CutisError(f"--box and --point are of one picture and {len(found)} are given: analyse them one by one")
    _prepare(output, _settings(model, options), resume)
    names = [shown(path) for path, _ in found]
    try:
        with Results(output, names, resume=resume) as results, Report(output / "report.html", len(found)) as report:
            kept = results.kept
            jobs = _jobs(found, names, kept)
            begin(len(jobs), sum(name in kept for name in names))

            def one(job: _Job) -> _Done:
                if job.name in kept:
                    return _again(kept[job.name], job, output)
                finished = _written(job, output, model, options)
                results.note(finished.analysis)
                return finished

            for finished in _in_order(one, jobs, options.workers):
                results.add(finished.analysis)
                report.add(finished.analysis, finished.pictures)
                yield finished.analysis
    except OSError as error:
        raise _stopped(output, error) from error


def _settings(model: Segmenter, options: Options) -> dict[str, object]:
    """What makes the results of one run comparable."""
    symmetry, lesion = options.cascade.symmetry_info, options.cascade.class_info
    other = {} if model.runtime == DEFAULT_RUNTIME else {"runtime": model.runtime}
    return {
        "model": model.info.sha256,
        "symmetry_model": symmetry.sha256 if symmetry else None,
        "class_model": lesion.sha256 if lesion else None,
        "hair_removal": options.hair_removal,
        "mm_per_pixel": options.mm_per_pixel,
        "prompts": options.correction.asked if options.correction else None,
        **other,
    }


def _jobs(found: Sequence[tuple[Path, Path]], names: Sequence[str], kept: dict[str, Analysis]) -> list[_Job]:
    """Each image with its output's name; a new one never takes the mask of one that an earlier run finished."""
    masks = (record.lesion.mask for record in kept.values() if record.lesion and record.lesion.mask)
    used = {key(PurePosixPath(mask.removeprefix("masks/"))) for mask in masks}
    chosen = targets([relative for _, relative in found])
    return [
        _Job(path, name, target if name in kept else unused(target, used))
        for (path, _), name, target in zip(found, names, chosen, strict=True)
    ]


def _inside(path: Path, output: Path) -> bool:
    """Masks, overlays and maps of an earlier run are not photos."""
    absolute, folder = path.resolve(), output.resolve()
    return any(absolute.is_relative_to(folder / name) for name in FOLDERS)


def _prepare(output: Path, settings: dict[str, object], resume: bool) -> None:
    try:
        for name in FOLDERS:
            (output / name).mkdir(parents=True, exist_ok=True)
        same_settings(output, settings, resume=resume)
    except OSError as error:
        what = f"{shown(output)} cannot be written ({reason(error)})"
        raise CutisError(f"{what}: choose another --output or free space there") from error


def analyze_or_fail(source: Source, name: str, model: Segmenter, options: Options) -> Outcome | Analysis:
    """All that the analysis gives, or a record with status 'failed': one image never takes the others with it."""
    try:
        return analyze_image(
            source,
            model,
            name=name,
            cascade=options.cascade,
            hair_removal=options.hair_removal,
            mm_per_pixel=options.mm_per_pixel,
            correction=options.correction,
        )
    except CutisError as error:
        return _failed(name, str(error), model)
    except Exception as error:  # what happened goes into the record
        return _failed(
            name, f"{name} could not be analysed ({type(error).__name__}: {reason(error)}): report it", model
        )


def _failed(name: str, error: str, model: Segmenter) -> Analysis:
    return Analysis(file=name, status="failed", error=error, model=model.info, cutis=__version__)


def _written(job: _Job, output: Path, model: Segmenter, options: Options) -> _Done:
    """Analyse one image and write its mask, overlay and maps."""
    outcome = analyze_or_fail(job.path, job.name, model, options)
    if isinstance(outcome, Analysis):
        return _Done(outcome, Pictures())
    start = time.perf_counter()
    drawn = draw_outline(outcome.picture, outcome.mask)
    analysis = _with_paths(outcome.analysis, job.target)
    try:
        write_mask(output / "masks" / job.target, outcome.mask)
        atomic_write(output / "overlays" / job.target, encode_png(drawn))
        for name, activation in zip(_map_paths(analysis), (outcome.symmetry_map, outcome.class_map), strict=True):
            if name is not None and activation is not None:
                atomic_write(output / name, encode_png(activation))
    except (CutisError, OSError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError) or cause.errno in (errno.ENAMETOOLONG, errno.EINVAL):
            failed = _failed(job.name, f"{job.name}: its mask cannot be written ({error}): rename it", model)
            return _Done(failed, Pictures())
        raise _stopped(output, cause) from error
    pictures = _pictures(drawn, outcome.symmetry_map, outcome.class_map)
    times = {**analysis.times_ms, "write": round((time.perf_counter() - start) * 1000, 3)}
    return _Done(analysis.model_copy(update={"times_ms": times}), pictures)


def _with_paths(analysis: Analysis, target: PurePosixPath) -> Analysis:
    """The record with the names of the files written for it."""
    names = {"mask": f"masks/{target}", "overlay": f"overlays/{target}"}
    for kind in ("symmetry", "class"):
        names[kind] = f"maps/{target.with_name(f'{target.stem}-{kind}.png')}"
    return name_pictures(analysis, names.__getitem__)


def _map_paths(analysis: Analysis) -> tuple[str | None, str | None]:
    symmetry, diagnosis = analysis.symmetry, analysis.diagnosis
    return symmetry.activation_map if symmetry else None, diagnosis.activation_map if diagnosis else None


def _again(kept: Analysis, job: _Job, output: Path) -> _Done:
    """What an earlier run finished, with its pictures for the report; the report says which the user took away."""
    name = kept.lesion.overlay if kept.lesion and kept.lesion.overlay else f"overlays/{job.target}"
    drawn = _still_there(output / name)
    if drawn is None:
        return _Done(kept, Pictures())
    maps = [_still_there(output / path) if path else None for path in _map_paths(kept)]
    return _Done(kept, _pictures(drawn, *(None if found is None else found[..., 0] for found in maps)))


def _still_there(path: Path) -> NDArray[np.uint8] | None:
    try:
        return read_image(path).pixels
    except CutisError:
        return None


def _pictures(
    drawn: NDArray[np.uint8], symmetry_map: NDArray[np.uint8] | None, class_map: NDArray[np.uint8] | None
) -> Pictures:
    """Small JPEGs for the report: the outlined picture, and the maps over it."""
    small = shrink(drawn, MAP_THUMBNAIL_SIDE)
    over = [None if laid is None else encode_jpeg(draw_map(small, laid), 78) for laid in (symmetry_map, class_map)]
    return Pictures(encode_jpeg(shrink(drawn, THUMBNAIL_SIDE), 78), *over)


def _stopped(output: Path, error: OSError) -> StoppedError:
    what = f"{shown(output)} cannot be written any more ({reason(error)})"
    return StoppedError(f"{what}: what was done is kept; free space and go on with --resume")


def _in_order(one: Callable, items: Sequence, workers: int | None) -> Iterator:
    """`one(item)` of each item, in order, by several threads, never more than a window ahead of the reader.

    One worker is the reader itself: nothing then runs beside anything.
    """
    count = min(workers or min(cores(), MAX_WORKERS), len(items))
    if count == 1:
        with single_threaded_opencv():
            yield from map(one, items)
        return
    waiting: deque[Future] = deque()
    left = iter(items)
    with single_threaded_opencv(), ThreadPoolExecutor(count, thread_name_prefix="cutis") as pool:
        try:
            for item in left:
                waiting.append(pool.submit(one, item))
                if len(waiting) >= WINDOW * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def single_threaded_opencv() -> Iterator[None]:
    """The cores are kept busy by images; OpenCV's own threads would only get in their way."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
