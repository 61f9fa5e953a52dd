"""The OpenAPI document: complete, and kept to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
CONTRACT = {
    "/": {"get"},
    "/user": {"post"},
    "/user/self": {"get", "put"},
    "/user/search": {"post"},
    "/entitlement": {"get"},
    "/entitlements": {"get"},
    "/experiment": {"post"},
    "/experiment/search": {"post"},
    "/experiment/{experiment_id}": {"get", "put", "delete"},
    "/experiment/{experiment_id}/drift": {"post"},
    "/experiment/{experiment_id}/drift/search": {"post"},
    "/experiment/{experiment_id}/drift/{drift_id}": {"get", "put", "delete"},
}
OURS = {
    "/experiment/{experiment_id}/drift/batch": {"post"},
    "/experiment/{experiment_id}/drift/live": {"get"},
    "/experiment/{experiment_id}/drift/{drift_id}/image": {"get", "put"},
    "/experiment/{experiment_id}/series": {"get"},
    "/experiment/{experiment_id}/streams": {"get"},
}


@pytest.mark.parametrize(("version", "paths"), [("v1", CONTRACT), ("latest", CONTRACT | OURS)])
def test_every_operation_is_in_the_document(local: Any, version: str, paths: Any) -> None:
    document = local.client.get(f"/api/{version}/specification.json").json()
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["version"] == version
    assert document["servers"] == [{"url": f"/api/{version}"}]
    assert {path: set(methods) for path, methods in document["paths"].items()} == paths
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            assert operation["responses"]


@pytest.mark.parametrize(
    ("version", "examples"),
    [("v1", 3), ("latest", 8)],  # latest has all operations of v1
)
def test_schemathesis_finds_nothing(
    serve: Any, version: str, examples: int, tmp_path: Path
) -> None:
    base = f"{serve().address}/api/{version}"
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{base}/specification.json"),
        *(
            "--url",
            base,
            "--checks",
            CHECKS,
            "--phases",
            "fuzzing",
            "--max-examples",
            str(examples),
        ),
        *("--exclude-path-regex", "drift/live$"),  # events without end: tests/server/test_live.py
        *("--no-color", "--seed", "1", "--generation-database", "none"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
