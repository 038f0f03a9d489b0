"""Images in, records out: the command line's, in order, whatever else is asked at the same time."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import httpx2
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate

from cutis.imaging.read import read_image, read_mask
from cutis.records import Analysis

JPEG = {"Content-Type": "image/jpeg"}
PICTURES = {("lesion", "mask"), ("lesion", "overlay"), ("symmetry", "activation_map"), ("diagnosis", "activation_map")}


@pytest.fixture(scope="module")
def by_command(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict]]:
    """What `cutis analyze --hair-removal` answers: its folder, and file name -> record."""
    output = tmp_path_factory.mktemp("command")
    command = ["analyze", str(photos), "--output", str(output), "--mm-per-pixel", "0.03", "--hair-removal"]
    subprocess.run([sys.executable, "-m", "cutis.cli", *command], check=True, capture_output=True)
    records = map(json.loads, (output / "results.jsonl").read_text("utf-8").splitlines())
    return output, {Path(record["file"]).name: record for record in records}


def files(*paths: Path) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("image", (path.name, path.read_bytes(), "application/octet-stream")) for path in paths]


def comparable(record: dict) -> dict:
    """A record without what must differ: times, and what its pictures are called."""
    changed = {**record, "file": Path(record["file"]).name, "times_ms": sorted(set(record["times_ms"]) - {"write"})}
    for part, field in PICTURES:
        if changed[part]:
            changed[part] = {**changed[part], field: None}
    return changed


def test_records_are_the_command_lines(client: httpx2.Client, photos: Path, by_command: tuple) -> None:
    _, expected = by_command
    names = sorted(expected)
    options = {"hair_removal": "true", "mm_per_pixel": "0.03"}
    answer = client.post("/v1/analyses", params=options, files=files(*(photos / name for name in names)))
    assert answer.status_code == 200
    said = answer.json()
    assert list(said) == ["analyses", "problems"] and said["problems"] == []
    assert [record["file"] for record in said["analyses"]] == names
    assert Counter(record["status"] for record in said["analyses"])["lesion"] >= len(names) - 1
    for record in said["analyses"]:
        mine, theirs = comparable(record), comparable(expected[record["file"]])
        assert json.dumps(mine) == json.dumps(theirs)  # the order of the fields too


def test_pictures_are_the_command_lines(client: httpx2.Client, photos: Path, by_command: tuple) -> None:
    folder, expected = by_command
    theirs = expected["3.jpg"]
    options = {"hair_removal": "true", "mm_per_pixel": "0.03"}
    content = (photos / "3.jpg").read_bytes()
    linked = client.post("/v1/analyses", params=options, content=content, headers=JPEG).json()
    inline = client.post("/v1/analyses", params={**options, "inline": "true"}, content=content, headers=JPEG).json()
    for part, field in PICTURES:
        link = client.get(linked[part][field])
        assert link.status_code == 200 and link.headers["content-type"] == "image/png"
        assert link.headers["cache-control"] == "no-store"
        start, _, packed = inline[part][field].partition(",")
        assert start == "data:image/png;base64" and base64.b64decode(packed) == link.content
        file = folder / theirs[part][field]
        assert (read_image(link.content).pixels == read_image(file).pixels).all()
    assert read_mask(client.get(linked["lesion"]["mask"]).content).sum() == theirs["lesion"]["area"]
    missing = linked["lesion"]["mask"].replace("mask.png", "other.png")
    assert client.get(missing).status_code == 422 and client.get("/v1/analyses/none/mask.png").status_code == 404


def test_an_image_as_the_body_is_answered_with_its_record(client: httpx2.Client, photos: Path) -> None:
    answer = client.post(
        "/v1/analyses", content=(photos / "skin.png").read_bytes(), headers={"Content-Type": "image/png"}
    )
    record = Analysis.model_validate_json(answer.content)
    assert (record.file, record.status, record.width) == ("image", "no_lesion", 320)
    assert answer.content == record.model_dump_json().encode()


def test_bad_files_among_others_keep_their_place(client: httpx2.Client, photos: Path) -> None:
    sent = files(photos / "0.jpg", photos / "1.jpg", photos / "2.jpg")
    sent[1] = ("image", ("病变\n.txt", b"text", "text/plain"))
    said = client.post("/v1/analyses", files=sent).json()
    assert [record["status"] for record in said["analyses"]] == ["lesion", "failed", "lesion"]
    assert said["problems"] == [{"index": 1, "detail": said["analyses"][1]["error"]}]
    assert said["problems"][0]["detail"].startswith("the image is not an image file")
    assert all(Analysis.model_validate(record) for record in said["analyses"])


def test_no_answer_is_mixed_up(client: httpx2.Client, photos: Path) -> None:
    paths = [photos / f"{number}.jpg" for number in range(8)]
    alone = {path: client.post("/v1/analyses", files=files(path)).json()["analyses"][0] for path in paths}
    assert len({json.dumps(record["lesion"]["box"]) for record in alone.values()}) == len(paths)

    def ask(number: int) -> None:
        path = paths[number % len(paths)]
        name = f"{number}.jpg"
        sent = [("image", (name, path.read_bytes(), "image/jpeg"))]
        (record,) = client.post("/v1/analyses", files=sent).json()["analyses"]
        assert record["file"] == name
        assert comparable({**record, "file": path.name}) == comparable(alone[path])
        if number % 6 == 0:
            mask = read_mask(client.get(record["lesion"]["mask"]).content)
            assert mask.sum() == record["lesion"]["area"] and mask.shape == (record["height"], record["width"])

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(32)))


def refused(answer: httpx2.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status and said["title"] and said["type"].startswith(("about:blank", "urn:cutis:problem:"))
    assert said["detail"].splitlines() == [said["detail"]]
    return said["detail"]


def test_every_bad_file_is_a_problem_and_the_service_survives(client: httpx2.Client, bad_files: ModuleType) -> None:
    assert len(bad_files.BAD) > 6
    cut = [(whole[: int(len(whole) * share)], "") for whole in bad_files.WHOLE.values() for share in (0.02, 0.5, 0.98)]
    for content, expected in [*bad_files.BAD, *cut]:
        assert expected in refused(client.post("/v1/analyses", content=content, headers=JPEG), 422)
    detail = refused(client.post("/v1/analyses", files=[("image", ("a.gif", b"GIF89a")), ("image", ("b", b""))]), 422)
    assert "none of the 2 images" in detail
    for name, whole in bad_files.WHOLE.items():
        answer = client.post("/v1/analyses", content=whole, headers=JPEG)
        assert answer.status_code == 200, name
    assert client.get("/readyz").json() == {"status": "ready"}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), kept=st.floats(0.2, 1), seed=st.integers(0, 8)
)
def test_random_damage_is_a_record_or_a_problem(
    client: httpx2.Client, bad_files: ModuleType, place: float, value: int, kept: float, seed: int
) -> None:
    whole = bytearray(list(bad_files.WHOLE.values())[seed])
    whole[int(place**2 * len(whole))] = value
    answer = client.post("/v1/analyses", content=bytes(whole[: int(kept * len(whole))]), headers=JPEG)
    if answer.status_code != 200:
        refused(answer, 422)


@pytest.mark.parametrize(
    ("request_", "status", "expected"),
    [
        ({"method": "PUT", "url": "/v1/analyses"}, 405, "method"),
        ({"method": "GET", "url": "/v1/analyses"}, 405, "method"),
        ({"method": "POST", "url": "/v1/nowhere"}, 404, "nothing"),
        ({"method": "GET", "url": "/v1/nowhere"}, 404, "nothing"),
        ({"method": "GET", "url": "/nowhere"}, 404, "nothing"),
        ({"content": b"x"}, 415, "no content type"),
        ({"content": b"{}", "headers": {"Content-Type": "application/json"}}, 415, "application/json"),
        ({"content": b"", "headers": JPEG}, 422, "is empty"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 422, "form"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, 422, "form"),
        ({"content": b"--b--\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, 422, "no file"),
        ({"files": [("image", ("a", b"x"))] * 33}, 422, "32 files"),
        ({"files": [("image", ("a", b"x"))], "data": {"inline": "true"}}, 422, "options go into the query"),
        ({"content": b"x", "headers": JPEG, "params": {"mm_per_pixel": "0"}}, 422, "mm_per_pixel"),
        ({"content": b"x", "headers": JPEG, "params": {"mm_per_pixel": "nan"}}, 422, "mm_per_pixel"),
        ({"content": b"x", "headers": JPEG, "params": {"inline": "perhaps"}}, 422, "inline"),
        ({"content": bytes(3_000_001), "headers": JPEG}, 413, "larger than 3 MB"),
        ({"content": iter([bytes(1_000_000)] * 4), "headers": JPEG}, 413, "larger than 3 MB"),
        ({"files": [("image", ("a", bytes(2_000_000))), ("image", ("b", bytes(2_000_000)))]}, 413, "larger than 3 MB"),
    ],
)  # fmt: skip
def test_wrong_requests_are_problems(client: httpx2.Client, request_: dict, status: int, expected: str) -> None:
    sent = {"method": "POST", "url": "/v1/analyses", **request_}
    assert expected in refused(client.request(**sent), status)


def test_the_description_is_valid_and_describes_what_is_answered(client: httpx2.Client, photos: Path) -> None:
    described = client.get("/openapi.json").json()
    validate(described)
    assert set(described["paths"]) >= {"/v1/analyses", "/v1/models", "/healthz", "/readyz"}
    answers = described["paths"]["/v1/analyses"]["post"]["responses"]
    assert {"200", "401", "408", "413", "415", "422", "503"} <= set(answers)

    def check(value: object, schema: dict) -> None:
        jsonschema.validate(value, {**schema, "components": described["components"]})

    right = answers["200"]["content"]["application/json"]
    wrong = answers["422"]["content"]["application/problem+json"]["schema"]
    content = (photos / "0.jpg").read_bytes()
    check(client.post("/v1/analyses", content=content, headers=JPEG).json(), right["schema"])
    sent = [*files(photos / "0.jpg"), ("image", ("b.jpg", b"bad", "image/jpeg"))]
    check(client.post("/v1/analyses", files=sent).json(), right["schema"])
    check(client.post("/v1/analyses", content=b"", headers=JPEG).json(), wrong)
    assert len(right["examples"]) == 2
    for example in right["examples"].values():
        check(example["value"], right["schema"])
        for record in example["value"].get("analyses", [example["value"]]):
            Analysis.model_validate(record)


def test_models_are_those_that_answer(client: httpx2.Client, photos: Path) -> None:
    models = client.get("/v1/models").json()
    record = client.post("/v1/analyses", content=(photos / "0.jpg").read_bytes(), headers=JPEG).json()
    assert models["segmentation"] == record["model"] and models["symmetry"] == record["symmetry_model"]
    assert models["diagnosis"] == record["class_model"] and models["cutis"] == record["cutis"]
