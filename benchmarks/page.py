"""What the browser costs: python benchmarks/page.py

The networks that the page ships, and its whole analysis, in headless Chromium on one thread, against the same in Python
with onnxruntime on one thread, in turns on the same drawn 1024x768 PNG. What is told is processor time, Chromium's own
count for the process that draws and computes the page: other work on the machine does not stretch it. The fp32
segmenter, which the page does not ship, is measured beside the INT8 one.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/page"))

from page_asking import give, png  # noqa: E402
from page_server import opened, serving  # noqa: E402

from cutis.analysis.cascade import load_cascade  # noqa: E402
from cutis.analysis.pipeline import analyze_image  # noqa: E402
from cutis.analysis.runtime import load_model  # noqa: E402
from cutis.benchmark.machine import watching  # noqa: E402
from cutis.benchmark.result import Result, Row, publish  # noqa: E402
from cutis.data.synthetic import draw_lesion  # noqa: E402
from cutis.imaging.frame import letterbox  # noqa: E402

BUILT = ROOT / "src/cutis/serve/page"
RUNTIME = ROOT / "web/node_modules/onnxruntime-web/dist"
WEIGHTS = ROOT / "src/cutis/weights"
NETWORKS = {"segmenter-int8": 256, "segmenter-fp32": 256, "symmetry-int8": 224, "lesion-int8": 128}
GOAL = 4.0
WARMUP, CALLS, ROUNDS = 20, 10, 5
SCRIPT = """
import * as ort from "./ort.wasm.min.mjs";
ort.env.wasm.numThreads = 1;
window.sessions = {};
window.load = async (name, size, pixels) => {
  const session = await ort.InferenceSession.create(`./${name}.onnx`);
  const image = Uint8Array.from(atob(pixels), (c) => c.charCodeAt(0));
  const feeds = { image: new ort.Tensor("uint8", image, [1, size, size, 3]) };
  if (session.inputNames.length > 1) {
    feeds.symmetry_activation = new ort.Tensor("float32", new Float32Array(169).fill(0.5), [1, 1, 13, 13]);
  }
  window.sessions[name] = () => session.run(feeds);
};
window.times = async (name, calls) => { for (let k = 0; k < calls; k++) await window.sessions[name](); };
document.documentElement.dataset.ready = "true";
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    arguments.add_argument("--output", type=Path, default=ROOT / "benchmarks/results")
    asked = arguments.parse_args()
    cv2.setNumThreads(1)
    picture = draw_lesion(np.random.default_rng(7), width=1024, height=768, symmetry=1).image
    with tempfile.TemporaryDirectory() as folder, opened() as browser, watching() as watch:
        bare(Path(folder))
        with serving(Path(folder), {}) as networks, serving(BUILT, {}) as pages:
            session = browser.new_browser_cdp_session()
            programs = native(picture) | in_browser(browser, session, networks.url, pages.url, picture)
            times = measured(programs, asked.rounds)
        version, wire = browser.version, first_visit(browser)
    rows = [row for name in (*NETWORKS, "whole analysis") for row in compared(name, times)]
    rows.append(Row("first visit", {"MB": wire / 1e6}, ("MB", "<=", 12.0)))
    result = Result.of(
        "page",
        rows,
        watch,
        one_thread=False,
        protocol={
            "time": "processor time", "warmup": WARMUP, "rounds": asked.rounds, "calls": CALLS, "threads": 1,
            "picture": "drawn, 1024x768, PNG", "ratio": "browser to Python, within a round",
        },
        facts={"browser": f"Chromium {version}", "models": {name: sha(name) for name in NETWORKS}},
        command=shlex.join(["python", "benchmarks/page.py", *sys.argv[1:]]),
    )  # fmt: skip
    publish(result, asked.output)


def bare(folder: Path) -> None:
    """A page of the runtime and the bundled networks alone."""
    for path in (*RUNTIME.glob("ort.wasm.min.mjs"), *RUNTIME.glob("ort-wasm-simd-threaded.*"), *WEIGHTS.glob("*.onnx")):
        shutil.copy(path, folder)
    (folder / "bench.mjs").write_text(SCRIPT, "utf-8")
    (folder / "index.html").write_text('<!doctype html><script type="module" src="bench.mjs"></script>', "utf-8")


def sha(name: str) -> str:
    return hashlib.sha256((WEIGHTS / f"{name}.onnx").read_bytes()).hexdigest()


def native(picture: np.ndarray) -> dict[str, Callable[[], float]]:
    """Program -> seconds of this process for one run."""

    def timed(run: Callable[[], object]) -> Callable[[], float]:
        def once() -> float:
            run()
            start = time.process_time()
            for _ in range(CALLS):
                run()
            return (time.process_time() - start) / CALLS

        return once

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    programs = {}
    for name, size in NETWORKS.items():
        session = onnxruntime.InferenceSession(str(WEIGHTS / f"{name}.onnx"), options)
        feeds = {"image": letterbox(picture, size)[0][None]}
        if len(session.get_inputs()) > 1:
            feeds["symmetry_activation"] = np.full((1, 1, 13, 13), 0.5, np.float32)
        programs[f"{name}, Python"] = timed(partial(session.run, None, feeds))
    content, model, cascade = png(picture), load_model(), load_cascade()
    programs["whole analysis, Python"] = timed(lambda: analyze_image(content, model, name="drawn", cascade=cascade))
    return programs


def in_browser(
    browser: Any, session: Any, bare_url: str, url: str, picture: np.ndarray
) -> dict[str, Callable[[], float]]:
    """Program -> seconds of the browser's renderers for one run."""

    def renderers() -> float:
        found = session.send("SystemInfo.getProcessInfo")["processInfo"]
        return sum(process["cpuTime"] for process in found if process["type"] == "renderer")

    def timed(run: Callable[[], object], calls: int) -> Callable[[], float]:
        def once() -> float:
            start = renderers()
            run()
            return (renderers() - start) / calls

        return once

    page = browser.new_page()
    page.goto(bare_url)
    page.wait_for_selector("html[data-ready]", timeout=120_000)
    programs = {}
    for name, size in NETWORKS.items():
        pixels = base64.b64encode(letterbox(picture, size)[0].tobytes()).decode()
        page.evaluate("([name, size, pixels]) => load(name, size, pixels)", [name, size, pixels])
        page.evaluate("([name, calls]) => times(name, calls)", [name, WARMUP])
        asked = partial(page.evaluate, "([name, calls]) => times(name, calls)", [name, CALLS])
        programs[f"{name}, browser"] = timed(asked, CALLS)
    whole = browser.new_context(service_workers="block").new_page()
    whole.set_default_timeout(120_000)
    whole.goto(url)
    whole.wait_for_selector("html[data-ready]")
    content = png(picture)
    for _ in range(5):
        give(whole, "drawn.png", content)
    programs["whole analysis, browser"] = timed(lambda: give(whole, "drawn.png", content), 1)
    return programs


def measured(programs: dict[str, Callable[[], float]], rounds: int) -> dict[str, np.ndarray]:
    """Program -> (rounds,) ms, the programs in turns."""
    found = {name: np.empty(rounds) for name in programs}
    for turn in range(rounds):
        for name, program in programs.items():
            found[name][turn] = 1000 * program()
    return found


def compared(name: str, times: dict[str, np.ndarray]) -> list[Row]:
    python, browser = times[f"{name}, Python"], times[f"{name}, browser"]
    goal = ("ratio", "<=", GOAL) if name in ("segmenter-int8", "whole analysis") else None
    return [Row(f"{name}, Python", quartiles("ms", python)),
            Row(f"{name}, browser", quartiles("ms", browser) | quartiles("ratio", browser / python), goal)]  # fmt: skip


def quartiles(what: str, values: np.ndarray) -> dict[str, float]:
    low, median, high = np.percentile(values, (25, 50, 75))
    return {what: float(median), f"{what} low": float(low), f"{what} high": float(high)}


def first_visit(browser: Any) -> float:
    """Bytes of all bodies until the page can work, from a server that compresses nothing."""
    with serving(BUILT) as server:
        page = browser.new_context(service_workers="block").new_page()
        page.goto(server.url)
        page.wait_for_selector("html[data-ready]", timeout=120_000)
        return float(server.sent)


if __name__ == "__main__":
    main()
