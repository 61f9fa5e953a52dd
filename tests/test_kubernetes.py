"""The manifests for Kubernetes: valid, tidy, and of one piece with the commands and the Dockerfile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from distributed.cli.dask_scheduler import main as scheduler_command
from distributed.cli.dask_worker import main as worker_command
from kubernetes_validate import ValidationError, validate
from kubernetes_validate.utils import all_versions
from yamllint.config import YamlLintConfig
from yamllint.linter import run

from lenswatch.cli.backfill import backfill

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "examples" / "kubernetes").glob("*.yaml"))
VERSIONS = all_versions()[-3:]
RULES = """
extends: default
rules:
  line-length: {max: 120}
  braces: {max-spaces-inside: 0}
  document-start: disable
"""


def documents() -> Iterator[dict[str, Any]]:
    for file in FILES:
        yield from yaml.safe_load_all(file.read_text())


def containers() -> dict[str, dict[str, Any]]:
    """Each container by name, with what of its pod it needs."""
    pods = (each["spec"]["template"] for each in documents() if "template" in each["spec"])
    return {each["name"]: each for pod in pods for each in pod["spec"]["containers"]}


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_are_valid(version: str) -> None:
    kinds = []
    for document in documents():
        validate(document, version, strict=True)
        kinds.append(document["kind"])
    assert sorted(set(kinds)) == [
        *("Deployment", "Job", "NetworkPolicy", "PersistentVolumeClaim", "Service")
    ]


def test_a_wrong_key_is_noticed() -> None:
    job = next(each for each in documents() if each["kind"] == "Job")
    job["spec"]["template"]["spec"]["volume"] = []
    with pytest.raises(ValidationError):
        validate(job, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_manifests_are_tidy(file: Path) -> None:
    assert [str(each) for each in run(file.read_text(), YamlLintConfig(RULES))] == []


def test_the_commands_take_the_arguments() -> None:
    found = containers()
    for name, command, skipped in (
        ("scheduler", scheduler_command, ["dask", "scheduler"]),
        ("worker", worker_command, ["dask", "worker"]),
        ("backfill", backfill, ["lenswatch", "backfill"]),
    ):
        arguments = found[name]["args"]
        assert arguments[:2] == skipped
        with command.make_context(name, list(arguments[2:])) as context:
            assert context.params


def test_the_image_is_a_target_of_the_dockerfile() -> None:
    images = {each["image"] for each in containers().values()}
    assert images == {"lenswatch-cluster:1.0.0"}
    targets = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.M)
    assert "cluster" in targets
    assert targets[-1] == "node"


def test_labels_services_and_policies_select_what_is_there() -> None:
    labels = [
        each["spec"]["template"]["metadata"]["labels"]
        for each in documents()
        if "template" in each["spec"]
    ]
    selectors = []
    for each in documents():
        spec = each["spec"]
        if each["kind"] == "Service":
            selectors.append(spec["selector"])
        elif each["kind"] == "Deployment":
            selectors.append(spec["selector"]["matchLabels"])
        elif each["kind"] == "NetworkPolicy":
            selectors += [spec["podSelector"]["matchLabels"]]
            selectors += [one["podSelector"]["matchLabels"] for one in spec["ingress"][0]["from"]]
    assert len(selectors) == 6
    for selector in selectors:
        assert any(selector.items() <= label.items() for label in labels), selector
    service = next(each for each in documents() if each["kind"] == "Service")
    address = f"tcp://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert all(address in containers()[name]["args"] for name in ("worker", "backfill"))
