"""The metrics, and the dashboard and alert rules that use them by the names that are really there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from conftest import Camera, Served
from support.samples import JOB
from support.servers import served

ROOT = Path(__file__).parents[1]
FILES = ROOT / "examples" / "monitoring"
RULES = FILES / "lenswatch-rules.yml"
DASHBOARD = FILES / "grafana-dashboard.json"
PAGE = ROOT / "docs" / "monitoring.md"
# A metric with its matchers; a label's value may hold braces.
USE = re.compile(r'(lenswatch_\w+)(?:\{((?:[^"}]|"[^"]*")*)\})?')
MATCHER = re.compile(r'(\w+)(=~|!=|!~|=)"([^"]*)"')
VALUES = {"distance": 0.1, "warning_distance": 0.2, "drift_distance": 0.3}
VALUES |= {"score": 0.5, "warning_score": 1.0, "drift_score": 1.2}


@pytest.fixture(scope="module")
def server_text(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The metrics of a tracking server that has got a job."""
    with served(tmp_path_factory.mktemp("server")) as server, server.client() as client:
        made = client.post("/experiment", json={"name": "pier"}).json()
        parameters = {"stream": "reef", "captured_at": "2026-06-03T06:00:00Z", **VALUES}
        path = f"/experiment/{made['id']}"
        client.post(f"{path}/drift", json=JOB | {"parameters": parameters}).raise_for_status()
        set_to = {"interval_seconds": 600}
        client.put(f"{path}/stream/reef", json=set_to).raise_for_status()
        hook = {"name": "ops", "kind": "webhook", "url": "https://hooks.example/ops"}
        client.post(f"{path}/channel", json=hook).raise_for_status()
        yield requests.get(f"{server.address}/metrics", timeout=60).text


@pytest.fixture
def node_text(deepaas: Served, camera: Camera) -> str:
    """The metrics of a node that has judged a picture."""
    deepaas.predict(camera(65), stream="metrics").raise_for_status()
    return requests.get(f"{deepaas.url}/metrics", timeout=60).text


@pytest.fixture
def families(server_text: str, node_text: str) -> list[Metric]:
    return [
        *text_string_to_metric_families(server_text),
        *text_string_to_metric_families(node_text),
    ]


def expressions() -> dict[str, str]:
    """Each expression of the files, by where it is."""
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    found = {rule["alert"]: rule["expr"] for group in rules["groups"] for rule in group["rules"]}
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            found[f"variable {variable['name']}"] = variable["definition"]
    return found


def test_the_files_use_metrics_and_labels_that_are_there(families: list[Metric]) -> None:
    samples: dict[str, list[dict[str, str]]] = {}
    for family in families:
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(dict(sample.labels))
    outside = {"job", "instance"}  # which Prometheus adds
    wrong = []
    for where, expression in expressions().items():
        for name, matchers in USE.findall(expression):
            if name not in samples:
                wrong.append(f"{where}: no {name}")
                continue
            for label, operator, value in MATCHER.findall(matchers):
                known = {labels.get(label) for labels in samples[name]}
                if label not in outside and known == {None}:
                    wrong.append(f"{where}: {name} has no label {label}")
                elif operator == "=" and label not in outside and value not in known:
                    wrong.append(f"{where}: no {name} with {label}={value!r}")
    assert wrong == []


def test_every_metric_is_documented(families: list[Metric]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    documented = {
        name: {label for label in labels.replace(" ", "").split(",") if label}
        for name, labels in re.findall(r"^\| `(lenswatch_\w+)` \|([^|]*)\|", page, flags=re.M)
    }
    there = {}
    for family in families:
        if family.name.endswith("_created"):  # which the library adds to each counter and histogram
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        there[name] = labels
    assert there == documented


def test_every_alert_is_documented() -> None:
    page = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(Lenswatch\w+)` \|", page, flags=re.M))
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    assert {rule["alert"] for group in rules["groups"] for rule in group["rules"]} == named


def test_the_parts_of_the_dashboard_do_not_overlap() -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            cells = {(x, y) for y in range(place["y"], place["y"] + place["h"])}
            assert not cells & taken, panel["title"]
            taken |= cells


def promtool(*arguments: Any, given: str | None = None) -> str:
    """Run Prometheus' own checker and return what it says; it must be content."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool on PATH; on Debian: apt-get install prometheus")
    run = subprocess.run(
        [program, *map(str, arguments)],
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    return run.stdout


def test_prometheus_accepts_settings_and_rules() -> None:
    promtool("check", "config", FILES / "prometheus.yml")
    assert "rules found" in promtool("check", "rules", RULES)


def test_prometheus_accepts_the_metrics(server_text: str, node_text: str) -> None:
    for text in (server_text, node_text):
        assert promtool("check", "metrics", given=text) == ""


def test_prometheus_can_read_the_dashboards_expressions(tmp_path: Path) -> None:
    """As rules, with a length of time for Grafana's own."""
    groups = [
        {
            "name": "dashboard",
            "rules": [
                {"record": "lenswatch:checked", "expr": expression, "labels": {"n": str(number)}}
                for number, (where, expression) in enumerate(expressions().items())
                if not where.startswith("variable")
            ],
        }
    ]
    text = yaml.safe_dump({"groups": groups}).replace("$__rate_interval", "5m")
    (tmp_path / "rules.yml").write_text(text)
    promtool("check", "rules", tmp_path / "rules.yml")


CAMERA = 'experiment="pier", stream="reef", job="lenswatch-server", instance="s"'
CHANNEL = 'experiment="pier", kind="webhook", job="lenswatch-server", instance="s"'
NODE = 'job="lenswatch-node", instance="n"'
LABELS = {"experiment": "pier", "stream": "reef", "job": "lenswatch-server", "instance": "s"}
CASES = [
    (
        "LenswatchCameraInTrouble",
        {
            f'lenswatch_stream_state{{{CAMERA}, state="drift"}}': "0 0 1x60",
            f'lenswatch_stream_state{{{CAMERA}, state="clean"}}': "1 1 0x60",
            f"lenswatch_stream_trouble{{{CAMERA}}}": "0 0 1x60",
        },
        [LABELS | {"state": "drift"}],
    ),
    (
        "LenswatchCameraInTrouble",  # somebody has acknowledged it
        {
            f'lenswatch_stream_state{{{CAMERA}, state="drift"}}': "1x60",
            f"lenswatch_stream_trouble{{{CAMERA}}}": "0x60",
        },
        [],
    ),
    (
        "LenswatchAlertNotDelivered",
        {f'lenswatch_alert_deliveries{{{CHANNEL}, state="given up"}}': "0x30 1x30"},
        [{"experiment": "pier", "kind": "webhook", "job": "lenswatch-server", "instance": "s"}],
    ),
    (
        "LenswatchAlertNotDelivered",
        {f'lenswatch_alert_deliveries{{{CHANNEL}, state="delivered"}}': "0x30 1x30"},
        [],
    ),
    (
        "LenswatchNodeJobsWait",
        {f"lenswatch_node_outbox_oldest_seconds{{{NODE}}}": "0+60x60"},
        [{"job": "lenswatch-node", "instance": "n"}],
    ),
    (
        "LenswatchNodeGivesUpJobs",
        {
            f'lenswatch_node_shed_total{{{NODE}, kind="jobs"}}': "5x30 6x30",
            f'lenswatch_node_shed_total{{{NODE}, kind="pictures"}}': "7x60",
            f"lenswatch_node_outbox_short{{{NODE}}}": "0x60",
        },
        [{"job": "lenswatch-node", "instance": "n", "kind": "jobs"}],
    ),
    (
        "LenswatchNodeCallsFail",
        {
            f'lenswatch_node_calls_total{{{NODE}, status="200"}}': "0+90x60",
            f'lenswatch_node_calls_total{{{NODE}, status="503"}}': "0+10x60",
        },
        [{"job": "lenswatch-node", "instance": "n"}],
    ),
    (
        "LenswatchNodeCallsFail",
        {
            f'lenswatch_node_calls_total{{{NODE}, status="200"}}': "0+98x60",
            f'lenswatch_node_calls_total{{{NODE}, status="503"}}': "0+2x60",
        },
        [],
    ),
    (
        "LenswatchNodeSlow",
        {
            f'lenswatch_node_call_seconds_bucket{{{NODE}, le="2"}}': "0+1x60",
            f'lenswatch_node_call_seconds_bucket{{{NODE}, le="5"}}': "0+10x60",
            f'lenswatch_node_call_seconds_bucket{{{NODE}, le="+Inf"}}': "0+10x60",
        },
        [{"job": "lenswatch-node", "instance": "n"}],
    ),
]


@pytest.mark.parametrize(("alert", "series", "labels"), CASES)
def test_a_rule_fires_when_it_should(
    tmp_path: Path, alert: str, series: dict[str, str], labels: list[dict[str, str]]
) -> None:
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    for group in rules["groups"]:  # the words are for people, and not compared
        for rule in group["rules"]:
            del rule["annotations"]
    severity = {
        rule["alert"]: rule["labels"] for group in rules["groups"] for rule in group["rules"]
    }
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    expected = [{"exp_labels": each | severity[alert]} for each in labels]
    case = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": s, "values": v} for s, v in series.items()],
                "alert_rule_test": [
                    {"eval_time": "55m", "alertname": alert, "exp_alerts": expected}
                ],
            }
        ],
    }
    (tmp_path / "case.yml").write_text(yaml.safe_dump(case))
    assert "SUCCESS" in promtool("test", "rules", tmp_path / "case.yml")
