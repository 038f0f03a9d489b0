"""The steps that Python takes around the networks, as ONNX graphs that the browser runs as they are.

Letterbox (`imaging/frame.py`), the mask at the picture's size (`analysis/pipeline.py`), a map laid on the picture
(`imaging/cells.py`, `analysis/cascade.py`) and the decisions (`analysis/decision.py`). tests/page/test_graphs.py holds
each against its Python.

OpenCV shrinks by areas and enlarges between neighbours; both are sums over a few columns, then a few rows, with weights
that the graph makes from the two sizes. What OpenCV rounds on the way is rounded here too: an INT8 network may answer a
single pixel that is one grey value off with another probability in the third digit.
"""

from __future__ import annotations

import numpy as np
import onnx

from cutis.analysis.cascade import MAP_SIDE
from cutis.analysis.decision import ClassRule, SymmetryRule
from cutis.imaging.cells import Cells
from cutis.page.steps import Steps

__all__ = ["class_decision", "full_mask", "laid_map", "letterbox", "symmetry_decision"]

_LEAST_COVER = 1e-3  # OpenCV leaves out what covers less of a pixel
_FIXED = 2048  # OpenCV's weights between neighbours are whole numbers of this


def letterbox(sizes: dict[str, int]) -> onnx.ModelProto:
    """`image` (H, W, 4) uint8 RGBA, opaque -> for each network in `sizes` its square (1, size, size, 3) uint8, named
    after it; `frame`: left, top, width and height of the picture in the first square, int64 (4,)."""
    g = Steps()
    image = g.given("image", "uint8", ["height", "width", 4])
    height, width = _extent(g, image)
    turned = g.transpose(image, perm=[1, 0, 2])  # by far the slowest step: once for all
    squares, frames = {}, []
    for name, size in sizes.items():
        left, top, inner_width, inner_height = _fit(g, width, height, size)
        pixels = g.cast(_resized(g, turned, (height, width), (inner_height, inner_width)), "uint8")
        rgb = g.slice(pixels, *(g.constant([k], np.int64) for k in (0, 3, 2)))
        right = g.sub(g.sub(g.constant(float(size)), inner_width), left)
        bottom = g.sub(g.sub(g.constant(float(size)), inner_height), top)
        zero = g.constant(0.0)
        pads = _integers(g, top, left, zero, bottom, right, zero)
        square = g.reshape(g.pad(rgb, pads, g.constant(0, np.uint8)), g.constant([1, size, size, 3], np.int64))
        squares[square] = (name, "uint8", [1, size, size, 3])
        frames.append(_integers(g, left, top, inner_width, inner_height))
    return g.model("letterbox", {**squares, frames[0]: ("frame", "int64", [4])})


def full_mask(level: int) -> onnx.ModelProto:
    """`probability` (1, 1, h, w) uint8, cleaned, and `size` (height, width) int64 -> `mask` (height, width) uint8, 0
    or 1: brought to that size between neighbours, and cut above `level`."""
    g = Steps()
    probability = g.cast(g.given("probability", "uint8", [1, 1, "h", "w"]), "float")
    sizes = g.concat(g.constant([1, 1], np.int64), g.given("size", "int64", [2]), axis=0)
    larger = g.node("Resize", probability, "", "", sizes, mode="linear", coordinate_transformation_mode="half_pixel")[0]
    above = g.cast(g.greater(larger, g.constant(level + 0.5, np.float32)), "uint8")  # OpenCV rounds before it cuts
    mask = g.squeeze(above, g.constant([0, 1], np.int64))
    return g.model("full_mask", {mask: ("mask", "uint8", ["height", "width"])})


def laid_map(size: int, cells: Cells) -> onnx.ModelProto:
    """`activation` (1, 1, h, w) float of a network whose input is `size` pixels, and `picture` (height, width) int64 ->
    `laid` uint8 over the whole picture, its longest side at most `MAP_SIDE`."""
    g = Steps()
    activation = g.given("activation", "float", [1, 1, "h", "w"])
    picture = g.cast(g.given("picture", "int64", [2]), "double")
    height, width = (g.squeeze(part) for part in g.node("Split", picture, outputs=2, axis=0))
    values = g.clip(activation, g.constant(0, np.float32), g.constant(1, np.float32))
    values = g.squeeze(values, g.constant([0, 1], np.int64))
    rows, columns = _extent(g, values)
    square = g.matmul(g.matmul(_spread(g, rows, size, cells), values), _turned(g, _spread(g, columns, size, cells)))
    left, top, inner_width, inner_height = _fit(g, width, height, size)
    scale = g.min(g.constant(1.0), g.div(g.constant(float(MAP_SIDE)), g.max(height, width)))
    out_height, out_width = (g.max(g.constant(1.0), g.round(g.mul(side, scale))) for side in (height, width))
    down = _between(g, top, inner_height, out_height, size)
    across = _between(g, left, inner_width, out_width, size)
    laid = g.matmul(g.matmul(down, square), _turned(g, across))
    laid = g.cast(g.round(g.mul(laid, g.constant(255, np.float32))), "uint8")
    return g.model("laid_map", {laid: ("laid", "uint8", ["rows", "columns"])})


def symmetry_decision(rule: SymmetryRule) -> onnx.ModelProto:
    """`logits` (1, K) float -> `probabilities` (K,) double, to four digits, and `answer`, the label's place, int64."""
    g = Steps()
    p = _calibrated(g, len(rule.classes), rule.temperature)
    if rule.threshold is None:
        answer = g.node("ArgMax", p, axis=0, keepdims=0)[0]
    else:
        symmetric = g.gather(p, g.constant(1, np.int64), axis=0)
        answer = g.cast(g.node("GreaterOrEqual", symmetric, g.constant(rule.threshold))[0], "int64")
    outputs = {_rounded(g, p): ("probabilities", "double", [len(rule.classes)]), answer: ("answer", "int64", [])}
    return g.model("symmetry_decision", outputs)


def class_decision(rule: ClassRule) -> onnx.ModelProto:
    """`logits` (1, K) float and `unlikeness` (1,) float -> `probabilities` (K,) double and `distance` () double, both
    to four digits; `ranked` (K,) int64, likeliest first; `fits` (K,) uint8; and whether the answer is 'not sure'
    because `too_many` classes fit, none does (`too_few`), or the picture is `unlike` the training, uint8."""
    g = Steps()
    count = len(rule.classes)
    p = _calibrated(g, count, rule.temperature)
    ranked = g.node("TopK", p, g.constant([count], np.int64), outputs=2, axis=0)[1]
    quantile = g.constant(rule.conformal.quantile)
    fits = g.node("LessOrEqual", g.sub(g.constant(1.0), p), quantile)[0]
    fitting = g.reduce_sum(g.cast(fits, "double"), keepdims=0)
    distance = g.squeeze(g.cast(g.given("unlikeness", "float", [1]), "double"))
    flags = {
        "too_many": g.greater(fitting, g.constant(float(rule.conformal.widest))),
        "too_few": g.less(fitting, g.constant(1.0)),
        "unlike": g.greater(distance, g.constant(rule.unlikeness_limit)),
    }
    outputs: dict[str, tuple[str, str, list[int | str]]] = {
        _rounded(g, p): ("probabilities", "double", [count]),
        _rounded(g, distance): ("distance", "double", []),
        ranked: ("ranked", "int64", [count]),
        g.cast(fits, "uint8"): ("fits", "uint8", [count]),
        **{g.cast(flag, "uint8"): (name, "uint8", []) for name, flag in flags.items()},
    }
    return g.model("class_decision", outputs)


def _extent(g: Steps, value: str) -> tuple[str, str]:
    """The first two sizes of a value, as double."""
    shape = g.cast(g.shape(value), "double")
    return g.gather(shape, g.constant(0, np.int64), axis=0), g.gather(shape, g.constant(1, np.int64), axis=0)


def _fit(g: Steps, width: str, height: str, size: int) -> tuple[str, str, str, str]:
    """`Frame.fit`: left, top, inner width and inner height."""
    scale = g.div(g.constant(float(size)), g.max(width, height))
    inner_width, inner_height = (g.max(g.constant(1.0), g.round(g.mul(side, scale))) for side in (width, height))

    def margin(inner: str) -> str:
        return g.floor(g.mul(g.sub(g.constant(float(size)), inner), g.constant(0.5)))

    return margin(inner_width), margin(inner_height), inner_width, inner_height


def _integers(g: Steps, *scalars: str) -> str:
    """Scalars -> one (n,) int64."""
    axis = g.constant([0], np.int64)
    return g.cast(g.concat(*(g.unsqueeze(scalar, axis) for scalar in scalars), axis=0), "int64")


def _column(g: Steps, values: str) -> str:
    return g.unsqueeze(values, g.constant([1], np.int64))


def _turned(g: Steps, matrix: str) -> str:
    return g.transpose(matrix, perm=[1, 0])


def _resized(g: Steps, turned: str, size: tuple[str, str], wanted: tuple[str, str]) -> str:
    """(W, H, 4) uint8 -> (h, w, 4) float, whole numbers: OpenCV's INTER_AREA where it gets narrower, else INTER_LINEAR.

    Areas of whole pixels are summed before they are divided; of 2 x 2 pixels, halves are rounded up, else to even."""
    (height, width), (inner_height, inner_width) = size, wanted
    down, across = g.div(height, inner_height), g.div(width, inner_width)
    shrinks = g.less(inner_width, width)
    whole = g.node("And", g.equal(g.floor(down), down), g.equal(g.floor(across), across))[0]
    cells = g.where(whole, g.mul(down, across), g.constant(1.0))
    kernel = _kernel(g, width, inner_width, shrinks, whole)
    columns = g.matmul(g.unsqueeze(kernel[1], g.constant([1], np.int64)), _gathered(g, turned, kernel[0]))
    columns = g.where(shrinks, columns, g.floor(g.div(columns, g.constant(16, np.float32))))
    columns = g.transpose(_lines(g, columns, inner_width), perm=[1, 0, 2])
    kernel = _kernel(g, height, inner_height, shrinks, whole)
    rows = g.mul(_gathered(g, columns, kernel[0]), g.unsqueeze(kernel[1], g.constant([2], np.int64)))
    rows = g.where(shrinks, rows, g.floor(g.div(rows, g.constant(65536, np.float32))))
    summed = _lines(g, g.reduce_sum(rows, g.constant([1], np.int64), keepdims=0), inner_height)
    means = g.mul(summed, g.cast(g.div(g.constant(1.0), cells), "float"))
    half = g.constant(0.5, np.float32)
    means = g.where(g.equal(cells, g.constant(4.0)), g.floor(g.add(means, half)), g.round(means))
    quarters = g.div(g.add(summed, g.constant(2, np.float32)), g.constant(4, np.float32))
    return g.where(shrinks, means, g.floor(quarters))


def _kernel(g: Steps, count: str, wanted: str, shrinks: str, whole: str) -> tuple[str, str]:
    """(wanted, reach) int64 and float: which of `count` lines each wanted one is made of, and how much they count.

    By areas the weights add up to 1 (of `whole` pixels each is 1), between neighbours to `_FIXED`."""
    one, nothing = g.constant(1.0), g.constant(0.0)
    step = g.div(count, wanted)
    place = g.range(nothing, wanted, one)
    low = g.mul(place, step)
    last = g.sub(count, one)
    centre = g.sub(g.mul(g.add(place, g.constant(0.5)), step), g.constant(0.5))
    centre = g.min(g.max(centre, nothing), last)
    start = _column(g, g.floor(g.where(shrinks, low, centre)))
    line = g.add(start, g.range(nothing, g.add(g.ceil(g.max(step, one)), one), one))
    low, high, centre = _column(g, low), _column(g, g.add(low, step)), _column(g, centre)
    cover = g.max(nothing, g.sub(g.min(g.add(line, one), high), g.max(line, low)))
    cover = g.mul(cover, g.cast(g.greater(cover, g.constant(_LEAST_COVER)), "double"))
    by_area = g.div(cover, g.where(whole, one, step))
    near = g.max(nothing, g.sub(one, g.abs(g.sub(centre, line))))
    between = g.round(g.mul(near, g.constant(float(_FIXED))))
    return g.cast(g.min(line, last), "int64"), g.cast(g.where(shrinks, by_area, between), "float")


def _gathered(g: Steps, image: str, lines: str) -> str:
    """(count, m, 4) and (wanted, reach) int64 -> (wanted, reach, 4 m) float."""
    flat = g.reshape(image, g.constant([0, -1], np.int64))
    return g.cast(g.gather(flat, lines, axis=0), "float")


def _lines(g: Steps, flat: str, wanted: str) -> str:
    """Values of `wanted` lines in their order -> (wanted, m, 4)."""
    return g.reshape(flat, g.concat(_integers(g, wanted), g.constant([-1, 4], np.int64), axis=0))


def _spread(g: Steps, count: str, size: int, cells: Cells) -> str:
    """(size, count) float: `cells._weights`."""
    at = g.constant((np.arange(size) + 0.5 - cells.first) / cells.step)
    return _triangles(g, at, count)


def _between(g: Steps, first: str, inner: str, wanted: str, size: int) -> str:
    """(wanted, size) float: `Frame.restore` along one axis, out of the square's `inner` pixels from `first` on."""
    place = g.range(g.constant(0.0), wanted, g.constant(1.0))
    step = g.div(inner, wanted)
    centre = g.sub(g.mul(g.add(place, g.constant(0.5)), step), g.constant(0.5))
    inside = g.min(g.max(centre, g.constant(0.0)), g.sub(inner, g.constant(1.0)))
    return _triangles(g, g.add(inside, first), g.constant(float(size)))


def _triangles(g: Steps, at: str, count: str) -> str:
    """(n,) places -> (n, count) float: how much each of `count` values counts there, linear between neighbours."""
    inside = _column(g, g.min(g.max(at, g.constant(0.0)), g.sub(count, g.constant(1.0))))
    values = g.range(g.constant(0.0), count, g.constant(1.0))
    weights = g.max(g.constant(0.0), g.sub(g.constant(1.0), g.abs(g.sub(inside, values))))
    return g.cast(weights, "float")


def _calibrated(g: Steps, count: int, temperature: float) -> str:
    """The input `logits` (1, count) -> (count,) double probabilities."""
    logits = g.cast(g.given("logits", "float", [1, count]), "double")
    scaled = g.div(logits, g.constant(temperature))
    return g.squeeze(g.softmax(scaled, axis=1), g.constant([0], np.int64))


def _rounded(g: Steps, values: str) -> str:
    return g.div(g.round(g.mul(values, g.constant(1e4))), g.constant(1e4))
