"""The service as a process: TLS, token, storing, logs, dying workers, clients that leave, the end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from cutis.cli import app
from cutis.errors import CutisError
from cutis.imaging.read import read_mask
from cutis.records import Analysis
from cutis.serve import tls

TOKEN = "a-token-of-enough-letters"
JPEG = {"Content-Type": "image/jpeg"}
ROOT = Path(__file__).parents[2]


def children(pid: int) -> list[int]:
    """Worker processes of a service; Python's own helper, which tracks shared memory, is none."""
    found = Path(f"/proc/{pid}/task/{pid}/children")
    if not found.exists():
        pytest.skip("this system does not tell which processes a process has")
    listed = [int(word) for word in found.read_text().split()]
    return [child for child in listed if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_a_killed_worker_is_replaced_and_no_answer_lost(service, photos: Path, until: Callable) -> None:
    client, content = service.client, (photos / "large.jpg").read_bytes()
    before = children(service.process.pid)
    assert len(before) == 2

    def ask(_: int) -> int:
        return client.post("/v1/analyses", content=content, headers=JPEG).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, number) for number in range(16)]
        os.kill(before[0], signal.SIGKILL)
        assert [answer.result() for answer in answers] == [200] * 16
    until(lambda: client.get("/readyz").status_code == 200)
    after = children(service.process.pid)
    assert len(after) == 2 and before[0] not in after and before[1] in after
    assert "a worker died; it is replaced" in service.said.read_text()


def request(url: httpx2.URL, length: int, body: bytes) -> socket.socket:
    """A request whose body is awaited, and maybe not all there."""
    asking = socket.create_connection((url.host, url.port), timeout=60)
    lines = ["POST /v1/analyses HTTP/1.1", f"Host: {url.host}", "Content-Type: image/jpeg", f"Content-Length: {length}"]
    asking.sendall("\r\n".join([*lines, "Expect: 100-continue", "", ""]).encode())
    assert asking.recv(100).startswith(b"HTTP/1.1 100 ")
    asking.sendall(body)
    return asking


def test_clients_that_leave_leave_nothing_behind(service, photos: Path, until: Callable) -> None:
    client, content = service.client, (photos / "large.jpg").read_bytes()

    def left() -> int:
        return service.said.read_text().count("POST /v1/analyses 400")

    for _ in range(3):  # each time all of the memory for bodies is taken: 2 of 3 MB
        expected = left() + 2
        leaving = [request(client.base_url, 2_999_999, b"x" * 1000) for _ in range(2)]
        busy = client.post("/v1/analyses", content=bytes(100), headers=JPEG)
        assert busy.status_code == 503 and int(busy.headers["retry-after"]) > 0
        assert busy.json()["type"] == "urn:cutis:problem:busy"
        for asking in leaving:
            asking.close()
        until(lambda expected=expected: left() == expected)
        assert client.post("/v1/analyses", content=bytes(2_000_000), headers=JPEG).status_code == 422
    for _ in range(10):  # those leave when all is sent
        request(client.base_url, len(content), content).close()
    assert client.post("/v1/analyses", content=content, headers=JPEG).status_code == 200
    assert client.get("/readyz").status_code == 200


def test_too_large_is_refused_before_it_is_sent(service) -> None:
    with pytest.raises(AssertionError, match=r"HTTP/1\.1 413 "):
        request(service.client.base_url, 2_000_000_000, b"")


def test_logs_hold_nothing_of_what_was_sent(service, photos: Path) -> None:
    client = service.client
    secret = [("image", ("Jane-Doe-1970.jpg", (photos / "0.jpg").read_bytes(), "image/jpeg"))]
    secret += [("image", ("Jane-Doe-bad.jpg", b"\xff\xd8\xff Jane-Doe", "image/jpeg"))]
    assert client.post("/v1/analyses?mm_per_pixel=0.0123", files=secret).status_code == 200
    assert client.get("/Jane-Doe/secret?name=Jane-Doe", headers={"User-Agent": "Jane-Doe"}).status_code == 404
    assert client.request("JANE-DOE", "/v1/analyses").status_code == 405
    assert client.post("/v1/analyses", content=b"Jane-Doe", headers=JPEG).status_code == 422
    form = {"Content-Type": "multipart/form-data; boundary=Jane-Doe"}
    assert client.post("/v1/analyses", content=b"Jane-Doe\r\n", headers=form).status_code == 422
    logged = service.said.read_text()
    assert not re.search(r"Jane|Doe|0\.0123|mm_per|127\.0\.0\.1:?\d* -", logged, re.IGNORECASE)
    assert re.search(r"INFO POST /v1/analyses 200 \d+ ms\n", logged) and "Traceback" not in logged
    lines = logged.splitlines()[1:]
    assert all(
        re.match(r"\S+ \S+ (INFO (GET|HEAD|POST|other) \S+ \d+ \d+ ms|ERROR a worker died)", line) for line in lines
    )


@pytest.fixture(scope="module")
def secured(start, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    folder = tmp_path_factory.mktemp("secured")
    flags = ["--host", "0.0.0.0", "--tls", "--workers", "1", "--store", "kept", "--no-cascade"]
    environment = {"XDG_CONFIG_HOME": str(folder / "config"), "CUTIS_TOKEN": TOKEN}
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with start(folder, *flags, environment=environment, verify=context) as started:
        yield started, folder


def test_tls_token_and_store_together(secured, photos: Path) -> None:
    started, folder = secured
    client, content = started.client, (photos / "0.jpg").read_bytes()
    assert str(client.base_url).startswith("https://")
    assert client.post("/v1/analyses", content=content, headers=JPEG).status_code == 401
    mine = {"Authorization": f"Bearer {TOKEN}"}
    record = client.post("/v1/analyses", content=content, headers=JPEG | mine).json()
    assert record["status"] == "lesion" and record["symmetry"] is None and record["class_model"] is None
    assert client.get(record["lesion"]["mask"]).status_code == 401
    (place,) = (folder / "kept").iterdir()
    stored = Analysis.model_validate_json((place / "record.json").read_bytes())
    assert stored.lesion and stored.lesion.mask == "mask.png" and stored.times_ms == record["times_ms"]
    assert sorted(path.name for path in place.iterdir()) == ["mask.png", "overlay.png", "record.json"]
    assert read_mask(place / "mask.png").sum() == record["lesion"]["area"]
    assert client.get(record["lesion"]["mask"], headers=mine).content == (place / "mask.png").read_bytes()
    key = folder / "config" / "cutis" / "self-signed.pem"
    if key.exists():  # where the system keeps such things so
        assert key.stat().st_mode & 0o077 == 0
    assert TOKEN not in started.said.read_text() and "SHA-256" in started.said.read_text()


def test_sigterm_lets_finish_what_runs(secured, photos: Path) -> None:
    started, _ = secured
    content, mine = (photos / "large.jpg").read_bytes(), {"Authorization": f"Bearer {TOKEN}"}
    sent = threading.Barrier(7)

    def ask() -> int:
        sent.wait()
        return started.client.post("/v1/analyses", content=content, headers=JPEG | mine).status_code

    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(ask) for _ in range(6)]
        sent.wait()
        while not any(answer.done() for answer in answers):
            pass
        workers = children(started.process.pid) if sys.platform == "linux" else []
        started.process.send_signal(signal.SIGTERM)
        assert [answer.result() for answer in answers] == [200] * 6
    assert started.process.wait(60) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert "Traceback" not in started.said.read_text()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--port", "{taken}"], "127.0.0.1 port {taken} cannot be used"),
        (["--host", "192.0.2.7", "--token", TOKEN, "--port", "0"], "192.0.2.7 port 0 cannot be used"),
        (["--host", "no such host", "--token", TOKEN, "--port", "0"], "is no address of this machine"),
        (["--model", "no-such-model", "--port", "0"], "no model 'no-such-model'"),
        (["--store", "{file}", "--port", "0"], "choose another --store"),
        (["--tls-cert", "{file}"], "the certificate cannot be used"),
        (["--tls-cert", "none.pem"], "none.pem does not exist"),
        (["--tls-key", "{file}"], "--tls-key is given without --tls-cert"),
        (["--tls", "--tls-cert", "{file}"], "leave out one of them"),
        (["--host", "0.0.0.0"], "give --token"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_call_is_one_line(flags: list[str], expected: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder, no certificate")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        fill = {"taken": listening.getsockname()[1], "file": tmp_path / "file"}
        words = ["serve", "--workers", "1", *(flag.format(**fill) for flag in flags)]
        with pytest.raises(CutisError) as caught:
            app(words, result_action="return_value")
    (line,) = str(caught.value).splitlines()
    assert expected.format(**fill) in line


def test_a_certificate_is_kept_until_it_no_longer_fits(tmp_path: Path) -> None:
    first = tls.self_signed(["192.0.2.1"], tmp_path)
    assert tls.self_signed(["192.0.2.1"], tmp_path) == first
    other = tls.self_signed(["192.0.2.1", "lesions.example"], tmp_path)
    assert other.fingerprint != first.fingerprint
    other.chain.write_text("damaged")
    assert tls.self_signed([], tmp_path).fingerprint not in (first.fingerprint, other.fingerprint)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(other.chain, other.key)
    (tmp_path / "file").write_text("")
    with pytest.raises(CutisError, match="the certificate cannot be kept"):
        tls.self_signed([], tmp_path / "file")


def test_the_small_size_says_what_to_install() -> None:
    hide = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
sys.argv[1:] = ["serve"]
from cutis.cli import main
main()
"""
    for hidden in ("fastapi", "cryptography"):
        done = subprocess.run(
            [sys.executable, "-c", hide.format(hidden=(hidden,))], capture_output=True, text=True, check=False
        )
        assert done.stderr == f"cutis serve needs {hidden}: pip install 'cutis[serve]'\n"
        assert done.returncode == 2


def test_nothing_else_loads_what_the_service_needs() -> None:
    code = "import cutis.cli, cutis.analysis, cutis.doctor, cutis.demo, cutis.serve, sys, json\n"
    code += "print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"fastapi", "starlette", "uvicorn", "python_multipart", "cryptography", "platformdirs"}
