"""The Swagger UI that DEEPaaS serves, in a real browser, and its description of the hooks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Page

from conftest import Camera, Served


def test_a_picture_is_judged_from_the_swagger_ui(
    deepaas: Served, any_page: Page, camera: Camera, tmp_path: Path
) -> None:
    picture = tmp_path / "reef.jpg"
    picture.write_bytes(camera(60))
    page = any_page
    page.goto(f"{deepaas.url}/api")
    operation = page.locator(".opblock", has_text="/v2/models/lenswatch/predict/")
    operation.locator(".opblock-summary").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.locator("input[type=file]").set_input_files(str(picture))
    operation.get_by_role("button", name="Execute").click()
    reply = operation.locator(".live-responses-table")
    reply.wait_for()
    assert (
        reply.locator("tr.response td.response-col_status").first.inner_text().split()[0] == "200"
    )
    answer = json.loads(reply.locator("pre.microlight").first.inner_text())
    assert answer["drift"] in (True, False)
    assert answer["image_name"] == "reef.jpg"
    assert answer["stream"] == "default"


@pytest.mark.parametrize("path", ["/v2/models/lenswatch/predict/", "/v2/models/lenswatch/train/"])
def test_both_hooks_are_described(deepaas: Served, path: str) -> None:
    specification = requests.get(f"{deepaas.url}/swagger.json", timeout=60).json()
    described = specification["paths"][path]["post"]
    assert {parameter["name"] for parameter in described["parameters"]} >= (
        {"input_file", "stream", "drift_distance", "warning_distance", "event_id", "captured_at"}
        if "predict" in path
        else {"epochs", "learning_rate", "seed"}
    )
    assert all(parameter["description"] for parameter in described["parameters"])


@pytest.fixture(scope="module")
def specification(deepaas: Served) -> Any:
    return requests.get(f"{deepaas.url}/swagger.json", timeout=60).json()


def test_the_answers_schema_has_the_name_that_deepaas_ui_looks_for(specification: Any) -> None:
    """Without it, AI4OS' web page fails with KeyError 'predictions' on every Submit."""
    post = specification["paths"]["/v2/models/lenswatch/predict/"]["post"]
    reference = post["responses"]["200"]["schema"]["$ref"]
    assert reference == "#/definitions/ModelPredictionResponse"
    assert set(specification["definitions"]["ModelPredictionResponse"]["properties"]) >= {
        "drift",
        "distance",
        "causes",
    }
    assert post["produces"] == ["application/json"]


def test_deepaas_ui_shows_the_upload_as_a_picture_and_the_answer_as_text(
    specification: Any,
) -> None:
    """It looks for these words in descriptions, and decodes an answer's text where it finds one."""
    media = ("image", "audio", "video")
    post = specification["paths"]["/v2/models/lenswatch/predict/"]["post"]
    (upload,) = [one for one in post["parameters"] if one["type"] == "file"]
    assert [word for word in media if word in upload["description"].lower()] == ["image"]
    for name, field in specification["definitions"]["ModelPredictionResponse"][
        "properties"
    ].items():
        described = field["description"].lower()
        assert not any(word in described for word in media), name


def test_deepaas_ui_reads_the_description_and_the_answer(
    deepaas: Served, specification: Any, camera: Camera
) -> None:
    """The reading of AI4OS' page: fields by their types, empty ones left out, values by their labels."""
    (path,) = [path for path in specification["paths"] if path.endswith("predict/")]
    post = specification["paths"][path]["post"]
    inputs = {p["name"]: p.get("type", "string") for p in post["parameters"]}
    inputs.pop("accept", None)
    known = {"integer", "number", "boolean", "string", "array", "file"}
    assert set(inputs.values()) <= known
    outputs = specification["definitions"]["ModelPredictionResponse"]["properties"]
    shown = {"string", "boolean", "integer", "number", "array", "object"}
    assert {field["type"] for field in outputs.values() if "type" in field} <= shown

    typed: dict[str, Any] = {
        "stream": "reef",
        "drift_distance": 0.0,
        "warning_distance": None,
        "event_id": "",
    }
    sent = {name: value for name, value in typed.items() if value}
    (mime,) = post["produces"]
    reply = requests.post(
        f"{deepaas.url}{path}",
        headers={"accept": mime},
        params=sent | {"accept": mime},
        files={"input_file": ("frame.jpg", camera(60), "image/jpeg")},
        timeout=60,
    )
    assert reply.status_code == 200, reply.text
    answer = reply.json()
    assert answer.get("status") != "error"
    values = {label: answer.get(label) for label in outputs}
    assert values["stream"] == "reef"
    assert values["drift"] in (True, False)
    assert isinstance(values["distance"], float)
    about = requests.get(f"{deepaas.url}{path.removesuffix('predict/')}", timeout=60).json()
    assert about["author"]
    assert about["description"].startswith("Notices that")
