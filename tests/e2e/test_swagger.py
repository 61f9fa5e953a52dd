"""The Swagger UI that DEEPaaS serves, used as a person would."""

import json

import pytest
import requests


def test_a_picture_is_judged_from_the_swagger_ui(deepaas, any_page, camera, tmp_path):
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
def test_both_hooks_are_described(deepaas, path):
    specification = requests.get(f"{deepaas.url}/swagger.json", timeout=60).json()
    described = specification["paths"][path]["post"]
    assert {parameter["name"] for parameter in described["parameters"]} >= (
        {"input_file", "stream", "drift_distance", "warning_distance", "event_id", "captured_at"}
        if "predict" in path
        else {"epochs", "learning_rate", "seed"}
    )
