"""Who is answered: host, origin, token; what browsers are told; the page's files. No worker runs here."""

from __future__ import annotations

import gzip
from pathlib import Path

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from cutis.errors import CutisError
from cutis.serve import page
from cutis.serve.app import create_app
from cutis.serve.settings import Settings

TOKEN = "a-token-of-enough-letters"
OWN = "http://127.0.0.1:8000"


def asking(**changed: object) -> TestClient:
    return TestClient(create_app(Settings(workers=1, **changed)), base_url=OWN)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def local() -> TestClient:
    return asking()


def kind(answer: httpx2.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"].removeprefix("urn:cutis:problem:")


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000", "127.0.0.2"])
def test_loopback_may_be_asked_for(local: TestClient, host: str) -> None:
    assert local.get("/healthz", headers={"Host": host}).json() == {"status": "alive"}


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.1.5:8000", "", "[", "a:b:c", "@"])
@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/models"])
def test_other_names_are_refused(local: TestClient, host: str, path: str) -> None:
    assert kind(local.get(path, headers={"Host": host})) == (421, "wrong-host")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8000"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://[bad"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_origins_are_refused(local: TestClient, headers: dict[str, str]) -> None:
    assert kind(local.post("/v1/analyses", content=b"x", headers=headers)) == (403, "wrong-origin")
    assert kind(local.get("/v1/models", headers=headers)) == (403, "wrong-origin")
    assert local.get("/healthz", headers=headers).status_code == 200


def test_its_own_page_is_answered(local: TestClient) -> None:
    headers = {"Origin": OWN, "Sec-Fetch-Site": "same-origin"}
    assert kind(local.post("/v1/analyses", content=b"x", headers=headers)) == (415, "about:blank")
    assert kind(local.get("/v1/models", headers=headers)) == (503, "not-ready")
    assert "access-control-allow-origin" not in local.get("/healthz", headers=headers).headers


@pytest.mark.parametrize(
    ("given_", "status"),
    [
        (None, 401),
        ("", 401),
        (TOKEN, 401),
        (f"Basic {TOKEN}", 401),
        (f"Bearer {TOKEN}x", 401),
        ("Bearer é", 401),
        (f"Bearer {TOKEN}", 503),
        (f"bearer  {TOKEN}", 503),
    ],
)
def test_only_who_has_the_token_is_answered(given_: str | None, status: int) -> None:
    client = asking(host="0.0.0.0", token=TOKEN)
    headers = {"Host": "any.example"} | ({} if given_ is None else {"Authorization": given_.encode("latin-1")})  # type: ignore[dict-item]
    answer = client.get("/v1/models", headers=headers)
    assert kind(answer)[0] == status
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert client.get("/openapi.json", headers=headers).status_code == (401 if status == 401 else 200)
    assert client.get("/healthz", headers={"Host": "any.example"}).status_code == 200


def test_a_proxys_name_can_be_allowed() -> None:
    client = asking(hosts=("lesions.example",), token=TOKEN)
    headers = {"Host": "lesions.example", "Origin": "https://lesions.example", "Authorization": f"Bearer {TOKEN}"}
    assert kind(client.post("/v1/analyses", content=b"x", headers=headers))[0] == 415
    assert kind(client.get("/healthz", headers={"Host": "other.example"}))[0] == 421


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"host": "0.0.0.0"}, "give --token"),
        ({"host": "192.168.1.5"}, "give --token"),
        ({"host": "::"}, "give --token"),
        ({"hosts": ("lesions.example",)}, "give --token"),
        ({"token": "short"}, "the token must be"),
        ({"token": "with spaces in it, many"}, "the token must be"),
        ({"workers": 0}, "--workers is 0"),
        ({"queue": 1}, "--queue is 1"),
        ({"port": 70000}, "--port is 70000"),
        ({"deadline_s": 0}, "--deadline is 0"),
        ({"body_mb": float("nan")}, "--max-body is nan"),
        ({"keep_s": -1}, "--keep-seconds is -1"),
    ],
)
def test_wrong_settings_are_one_line(changed: dict, expected: str) -> None:
    with pytest.raises(CutisError, match=expected) as caught:
        Settings(**{"workers": 1, **changed})
    assert len(str(caught.value).splitlines()) == 1


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.sampled_from(["host", "origin", "authorization", "sec-fetch-site", "content-type", "range"]),
        st.binary(max_size=30).map(lambda text: text.translate(None, b"\r\n\0")),
        max_size=4,
    ),
    st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "DELETE", "BREW"]),
    st.sampled_from(["/", "/v1/analyses", "/v1/models", "/healthz", "/openapi.json", "/%2e%2e/x", "//", "/v1/\xe9"]),
)
def test_no_header_breaks_it(headers: dict[str, bytes], method: str, path: str) -> None:
    for client in _FUZZED:
        answer = client.request(method, path, headers=headers)
        assert answer.status_code < 500 or answer.json()["type"] == "urn:cutis:problem:not-ready"
        if answer.status_code >= 400 and method != "HEAD":
            assert kind(answer)[0] == answer.status_code


_FUZZED = [asking(), asking(host="0.0.0.0", token=TOKEN)]


def test_what_browsers_are_told(local: TestClient) -> None:
    page_policy = dict(part.split(" ", 1) for part in local.get("/").headers["content-security-policy"].split("; "))
    assert page_policy == {
        "default-src": "'none'", "script-src": "'self' 'wasm-unsafe-eval'", "style-src": "'self'",
        "img-src": "'self' blob: data:", "connect-src": "'self'", "worker-src": "'self' blob:",
        "manifest-src": "'self'", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
    }  # fmt: skip
    for path in ("/", "/healthz", "/v1/models", "/nowhere"):
        headers = local.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-embedder-policy"] == "require-corp"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["permissions-policy"] == "camera=(self)"
        assert "set-cookie" not in headers and "server" not in headers
    assert local.get("/v1/models").headers["cache-control"] == "no-store"
    assert "script-src" not in local.get("/v1/models").headers["content-security-policy"]


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """A page as `make page` leaves it."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>cutis</title>" + 50 * "<p>lesion")
    (tmp_path / "assets" / "main-1a2b.js").write_text("let a = 1;\n" * 100)
    (tmp_path / "sw.js").write_text("let b = 1;\n" * 100)
    (tmp_path / "assets" / "ort.wasm").write_bytes(b"\0asm" + bytes(1000))
    (tmp_path / "models" / "segmenter.onnx").write_bytes(bytes(range(256)) * 10)
    (tmp_path / "manifest.webmanifest").write_text("{}")
    (tmp_path.parent / "secret.txt").write_text("no file of the page")
    monkeypatch.setattr(page.add_page, "__defaults__", (tmp_path,))
    return asking()


@pytest.mark.parametrize(
    ("path", "type_", "cache"),
    [
        ("/", "text/html; charset=utf-8", "no-cache"),
        ("/index.html", "text/html; charset=utf-8", "no-cache"),
        ("/sw.js", "text/javascript; charset=utf-8", "no-cache"),
        ("/assets/main-1a2b.js", "text/javascript; charset=utf-8", page.FOREVER),
        ("/assets/ort.wasm", "application/wasm", page.FOREVER),
        ("/models/segmenter.onnx", "application/octet-stream", "no-cache"),
        ("/manifest.webmanifest", "application/manifest+json", "no-cache"),
    ],
)
def test_the_page_is_served_packed_and_typed(
    built: TestClient, path: str, type_: str, cache: str, tmp_path: Path
) -> None:
    file = tmp_path / (path[1:] or "index.html")
    plain = built.get(path, headers={"Accept-Encoding": "identity"})
    packed = built.get(path, headers={"Accept-Encoding": "gzip"})
    for answer in (plain, packed):
        assert (answer.status_code, answer.headers["content-type"]) == (200, type_)
        assert answer.headers["cache-control"] == cache and answer.content == file.read_bytes()
        assert "wasm-unsafe-eval" in answer.headers["content-security-policy"]
    assert "content-encoding" not in plain.headers and packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) == len(gzip.compress(file.read_bytes(), 6))
    again = built.get(path, headers={"If-None-Match": plain.headers["etag"]})
    assert again.status_code == 304


def test_nothing_beside_the_page_is_served(built: TestClient) -> None:
    for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/assets/../../secret.txt", "/nix", "/assets"):
        assert kind(built.get(path))[0] == 404
    assert kind(built.post("/sw.js"))[0] == 405 and kind(built.get("/v1/analyses"))[0] == 405
    assert kind(built.get("/v1/nowhere"))[0] == 404 and kind(built.get("/v1/models")) == (503, "not-ready")
    assert built.get("/healthz").json() == {"status": "alive"}


def test_without_a_page_it_says_how_to_build_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page.add_page, "__defaults__", (tmp_path,))
    answer = asking().get("/")
    assert answer.status_code == 200 and "make page" in answer.text
