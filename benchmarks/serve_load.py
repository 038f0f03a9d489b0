"""How much the service costs: python benchmarks/serve_load.py --seconds 60 --connections 200

`cutis serve` in a process of its own, as many connections as asked for, each sending a drawn 600x450 JPEG in a form and
waiting for its record, again and again. Every answer is compared with the record that the bare analysis gives for that
picture, and with the name it was sent under. Before and after, the bare analysis (bytes to JSON, as many processes as
the service has workers, nothing else) runs in the same way: the service's images a second are told as a ratio to it.
Whoever sends the load computes on the same cores; how much, is told too. Memory is that of all the service's processes.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import re
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import cv2
import numpy as np

from cutis.analysis.batch import cores
from cutis.analysis.cascade import load_cascade
from cutis.analysis.pipeline import analyze_image
from cutis.analysis.runtime import load_model
from cutis.benchmark.machine import watching
from cutis.benchmark.result import Result, Row, publish
from cutis.data.synthetic import draw_lesion

WIDTH, HEIGHT, QUALITY, DISTINCT = 600, 450, 90, 24
RATIO, GROWTH = 0.6, 1.05
KEEP_MB = 8  # what is kept for links fills up at once, so that memory can be steady
BOUNDARY = "cutis-load"


class Load(NamedTuple):
    """What came back. `counts`: answered, busy (503), other 5xx, other, mixed up, lost. `late_s`: of each answer."""

    counts: Counter[str]
    late_s: list[float]
    seconds: float
    memory_mb: list[float]
    sender_cores: float


def drawn() -> list[bytes]:
    """Different lesions as JPEG."""
    pictures = []
    for seed in range(DISTINCT):
        image = draw_lesion(np.random.default_rng(seed), width=WIDTH, height=HEIGHT, symmetry=1).image
        done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        assert done
        pictures.append(jpeg.tobytes())
    return pictures


def comparable(record: dict[str, Any]) -> str:
    """What two records of one picture have in common: all but its name, the times and the pictures' names."""
    kept = {name: value for name, value in record.items() if name not in ("file", "times_ms")}
    for part, field in (("lesion", "mask"), ("lesion", "overlay"), ("symmetry", "activation_map")):
        if kept[part]:
            kept[part] = {**kept[part], field: None}
    if kept["diagnosis"]:
        kept["diagnosis"] = {**kept["diagnosis"], "activation_map": None}
    return json.dumps(kept)


def bare(pictures: list[bytes], seconds: float, ready: Any, answers: Any) -> None:
    """A process of the bare loop: bytes to JSON for `seconds`; tells how many, how long, and the records."""
    cv2.setNumThreads(1)
    model, cascade = load_model(), load_cascade()
    records = [analyze_image(p, model, name="", cascade=cascade).analysis.model_dump_json() for p in pictures]
    ready.wait()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        analyze_image(pictures[done % len(pictures)], model, name="", cascade=cascade).analysis.model_dump_json()
        done += 1
    answers.put((done / (time.perf_counter() - start), [comparable(json.loads(record)) for record in records]))


def bare_rate(pictures: list[bytes], workers: int, seconds: float) -> tuple[float, list[str]]:
    """Images a second of all processes together, and each picture's record."""
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(workers), context.Queue()
    processes = [context.Process(target=bare, args=(pictures, seconds, ready, answers)) for _ in range(workers)]
    for process in processes:
        process.start()
    told = [answers.get(timeout=600) for _ in processes]
    for process in processes:
        process.join()
    return sum(rate for rate, _ in told), told[0][1]


@contextmanager
def service(workers: int) -> Iterator[tuple[int, str, int]]:
    """A ready service: its process, host and port."""
    flags = ["--port", "0", "--workers", str(workers), "--max-body", str(KEEP_MB), "--keep-memory", str(KEEP_MB)]
    command = [sys.executable, "-m", "cutis.cli", "serve", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout
        found = re.search(r"http://([\d.]+):(\d+)", process.stdout.readline())
        assert found, "the service did not start"
        host, port = found[1], int(found[2])
        while not _ready(f"http://{host}:{port}/readyz"):
            time.sleep(0.1)
        yield process.pid, host, port
        process.terminate()
        assert process.wait(60) == 0, "the service did not end as it should"
    finally:
        process.kill()


def _ready(url: str) -> bool:
    try:
        with urlopen(url, timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def memory_mb(pid: int) -> float:
    """Resident memory of a process and its children, megabytes; pages they share count for each."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    total = 0
    for each in [str(pid), *listed]:
        found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{each}/status").read_text())
        total += int(found[1]) if found else 0
    return total * 1024 / 1e6


def request(host: str, name: str, jpeg: bytes) -> bytes:
    """One form with one file, as it goes over the wire."""
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'
    body = part.encode() + jpeg + f"\r\n--{BOUNDARY}--\r\n".encode()
    lines = ["POST /v1/analyses HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [f"Content-Type: multipart/form-data; boundary={BOUNDARY}", "", ""]
    return "\r\n".join(lines).encode() + body


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: bytes) -> tuple[int, str, bytes]:
    """Status, head and body of the answer."""
    writer.write(sent)
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
    assert length
    return int(head.split()[1]), head, await reader.readexactly(int(length[1]))


async def load(
    host: str, port: int, pid: int, pictures: list[bytes], expected: list[str], connections: int, seconds: float
) -> Load:
    """Send until the time is over; every request begun is waited for."""
    counts: Counter[str] = Counter()
    late: list[float] = []
    memory: list[float] = []
    numbers = itertools.count()
    start, used = time.perf_counter(), time.process_time()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        while time.perf_counter() - start < seconds:
            number = next(numbers)
            place, name = number % len(pictures), f"{number}.jpg"
            begun = time.perf_counter()
            try:
                status, head, body = await exchange(reader, writer, request(host, name, pictures[place]))
            except (OSError, asyncio.IncompleteReadError):
                counts["lost"] += 1
                reader, writer = await asyncio.open_connection(host, port)
                continue
            late.append(time.perf_counter() - begun)
            counts[outcome(status, body, name, expected[place])] += 1
            if status == 503:
                wait = re.search(r"retry-after: (\d+)", head, re.IGNORECASE)
                await asyncio.sleep(int(wait[1]) if wait else 1)
        writer.close()

    async def watch() -> None:
        while True:
            memory.append(memory_mb(pid))
            await asyncio.sleep(0.5)

    watching_memory = asyncio.create_task(watch())
    await asyncio.gather(*(connection() for _ in range(connections)))
    watching_memory.cancel()
    wall = time.perf_counter() - start
    return Load(counts, late, wall, memory, (time.process_time() - used) / wall)


def outcome(status: int, body: bytes, name: str, expected: str) -> str:
    """What became of one request."""
    if status == 503:
        return "busy (503)"
    if status != 200:
        return "other 5xx" if status >= 500 else "other"
    (record,) = json.loads(body)["analyses"]
    return "answered" if record["file"] == name and comparable(record) == expected else "mixed up"


def growth(memory: list[float]) -> float:
    """Memory of the last third of the time over that of the middle third."""
    third = len(memory) // 3
    return float(np.mean(memory[-third:]) / np.mean(memory[third : 2 * third]))


def rows(found: Load, rates: tuple[float, float]) -> list[Row]:
    """The targets, one a row."""
    counts, reference = found.counts, float(np.mean(rates))
    rate = counts["answered"] / found.seconds
    median, slow = (float(value) for value in np.quantile(found.late_s, [0.5, 0.95]))
    answered = {"images/s": rate, "ratio to bare": rate / reference, "median s": median, "95% s": slow}
    wrong = counts["mixed up"] + counts["lost"] + counts["other"]
    return [
        Row("bare loop", {"images/s": reference, "images/s low": min(rates), "images/s high": max(rates)}),
        Row("service", {**answered, "requests": float(counts.total())}, ("ratio to bare", ">=", RATIO)),
        Row("mixed up, lost or wrong", {"requests": float(wrong)}, ("requests", "<=", 0)),
        Row("5xx that are not deliberate", {"requests": float(counts["other 5xx"])}, ("requests", "<=", 0)),
        Row("deliberate 503", {"requests": float(counts["busy (503)"])}),
        Row(
            "memory, last third to middle third",
            {"growth": growth(found.memory_mb), "peak MB": max(found.memory_mb)},
            ("growth", "<=", GROWTH),
        ),
    ]


def main(say: Callable[[str], None] = print) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    pictures = drawn()
    with watching() as watch:
        say("the bare loop, before")
        before, expected = bare_rate(pictures, given.workers, given.seconds / 3)
        say("the service")
        with service(given.workers) as (pid, host, port):
            sending = load(host, port, pid, pictures, expected, given.connections, given.seconds)
            found = asyncio.run(sending)
        say("the bare loop, after")
        after, _ = bare_rate(pictures, given.workers, given.seconds / 3)
    size = sum(map(len, pictures)) / len(pictures)
    result = Result.of(
        "serve",
        rows(found, (before, after)),
        watch,
        one_thread=False,
        protocol={
            "seconds": given.seconds,
            "connections": given.connections,
            "workers": given.workers,
            "order": ["bare loop", "service", "bare loop"],
        },
        facts={
            "model": load_model().info.model_dump(),
            "pictures": f"{DISTINCT} drawn JPEG, {WIDTH}x{HEIGHT}, quality {QUALITY}, {size:.0f} bytes on average",
            "kept for links": f"{KEEP_MB} MB",
            "cores the sender used": found.sender_cores,
            "counts": dict(found.counts),
        },
        command=shlex.join(["python", "benchmarks/serve_load.py", *sys.argv[1:]]),
    )
    publish(result, given.output)


if __name__ == "__main__":
    main()
