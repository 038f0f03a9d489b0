"""Bodies in memory, bounded in size, in number and in time; what goes wrong inside is a problem without its values."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import httpx2
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.testclient import TestClient

from cutis.serve import stored, uploads
from cutis.serve.app import create_app
from cutis.serve.pool import BusyError, Pool
from cutis.serve.problems import ProblemError
from cutis.serve.settings import Settings
from cutis.serve.uploads import Budget, Upload, Uploads

JPEG = [(b"content-type", b"image/jpeg")]


def read(reader: Uploads, headers: list[tuple[bytes, bytes]], chunks: Iterable[bytes | None]) -> list[Upload]:
    """What `reader` reads of a body in chunks; None among them is a client that waits for ever."""
    left = list(chunks)

    async def receive() -> dict:
        if not left:
            return {"type": "http.disconnect"}
        chunk = left.pop(0)
        if chunk is None:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": chunk, "more_body": bool(left) or not chunk}

    async def run() -> list[Upload]:
        scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
        async with reader.read(Request(scope, receive)) as found:
            return found

    return asyncio.run(run())


def test_all_bodies_share_a_budget_which_is_free_again_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "BODY_LIMIT_S", 0.05)
    budget = Budget(100)
    reader = Uploads(80, budget)
    assert read(reader, JPEG, [b"ab", b"c"]) == [Upload("image", b"abc")]
    for chunks, expected in [
        ([b"x" * 81], ProblemError),
        ([b"x" * 50, b"x" * 31], ProblemError),
        ([b"x" * 50, None], ProblemError),  # 408
        ([b"x" * 50, b""], ClientDisconnect),
    ]:
        with pytest.raises(expected):
            read(reader, JPEG, chunks)
        assert budget.used == 0
    budget.take(60)
    for headers in (JPEG, [*JPEG, (b"content-length", b"50")]):
        with pytest.raises(BusyError):
            read(reader, headers, [b"x" * 50])
    assert budget.used == 60


def test_who_sends_too_slowly_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "BODY_LIMIT_S", 0.05)
    with pytest.raises(ProblemError) as caught:
        read(Uploads(80, Budget(80)), JPEG, [b"x", None])
    assert caught.value.status == 408


def test_large_files_of_a_form_never_touch_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no such folder"))
    with pytest.raises(OSError, match="no such folder"):
        tempfile.TemporaryFile()  # noqa: SIM115
    content = b"x" * 3_000_000
    part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    body = part + content + b"\r\n--b--\r\n"
    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    found = read(Uploads(10**7, Budget(10**7)), headers, [body[i : i + 65536] for i in range(0, len(body), 65536)])
    assert found == [Upload("a.jpg", content)]


def test_a_result_that_cannot_be_stored_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    record = b'{"file": "image", "status": "no_lesion", "cutis": "0"}'
    with pytest.raises(ProblemError) as caught:
        stored.store(tmp_path / "file", "a", record, {})
    assert caught.value.status == 507
    stored.store(tmp_path / "folder", "a", record, {})
    assert json.loads((tmp_path / "folder" / "a" / "record.json").read_text())["status"] == "no_lesion"


def test_what_nobody_expected_is_a_problem_without_its_values(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    value = "Jane Doe"  # a value, not a line of the code, which the log does show

    def fail(self: Pool) -> None:
        raise RuntimeError(value)

    monkeypatch.setattr(Pool, "check_room", fail)
    client = TestClient(create_app(Settings(workers=1)), base_url="http://localhost")
    answer = client.post("/v1/analyses", content=b"x", headers={"Content-Type": "image/jpeg"})
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "RuntimeError" in caplog.text and "check_room" in caplog.text
    assert "Jane" not in answer.text + caplog.text


def test_telemetry_is_off_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(Pool, "start", lambda self: None)
    with TestClient(create_app(Settings(workers=1)), base_url="http://localhost") as client:  # configured at startup
        assert client.get("/healthz").status_code == 200
        said = getattr(client.app, "_telemetry", {})
    assert not any(said.values())


def test_the_load_benchmark_tells_answers_apart(load_benchmark: ModuleType) -> None:
    record = {"file": "7.jpg", "lesion": {"mask": "a", "overlay": "b", "area": 5}, "symmetry": None, "diagnosis": None}
    expected = load_benchmark.comparable({**record, "file": "", "lesion": {"mask": None, "overlay": None, "area": 5}})

    def told(status: int, **changed: object) -> str:
        body = json.dumps({"analyses": [{**record, **changed}]}).encode()
        return load_benchmark.outcome(status, body, "7.jpg", expected)

    assert told(200) == "answered" and told(503) == "busy (503)" and told(500) == "other 5xx" and told(422) == "other"
    assert told(200, file="8.jpg") == "mixed up"
    assert told(200, lesion={"mask": "a", "overlay": "b", "area": 6}) == "mixed up"
    counts = load_benchmark.Counter({"answered": 60, "mixed up": 1, "lost": 2, "other 5xx": 3, "busy (503)": 4})
    load = load_benchmark.Load(counts, [0.1, 0.2], 10.0, [1.0, 1.0, 2.0, 2.0, 3.0, 3.0], 0.1)
    rows = {row.name: row.values for row in load_benchmark.rows(load, (9.0, 11.0))}
    assert rows["service"]["ratio to bare"] == pytest.approx(0.6)
    assert rows["mixed up, lost or wrong"]["requests"] == 3
    assert rows["5xx that are not deliberate"]["requests"] == 3 and rows["deliberate 503"]["requests"] == 4
    assert rows["memory, last third to middle third"]["growth"] == pytest.approx(1.5)


def test_the_load_benchmark_sends_forms(load_benchmark: ModuleType) -> None:
    sent = load_benchmark.request("localhost", "7.jpg", b"jpeg")
    head, _, body = sent.partition(b"\r\n\r\n")
    headers = httpx2.Headers([tuple(line.split(b": ", 1)) for line in head.split(b"\r\n")[1:]])
    found = read(Uploads(10**6, Budget(10**6)), [(k.lower(), v) for k, v in headers.raw], [body])
    assert found == [Upload("7.jpg", b"jpeg")] and int(headers["content-length"]) == len(body)
