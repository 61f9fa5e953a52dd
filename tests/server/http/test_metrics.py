"""/metrics: what Prometheus reads. Who may read it: test_keys.py."""

from __future__ import annotations

from typing import Any

import pytest


def test_the_jobs_are_those_that_are_stored_now(local: Any, pier: Any) -> None:
    def jobs() -> list[str]:
        lines = local.client.get("/metrics").text.splitlines()
        assert "# TYPE lenswatch_jobs gauge" in lines
        return [line.split()[-1] for line in lines if line.startswith("lenswatch_jobs{")]

    path = f"/experiment/{pier['id']}"
    first, *_ = (local.drift(pier) for _ in range(3))
    assert jobs() == ["3.0"]
    assert local.delete(f"{path}/drift/{first['id']}").status_code == 204
    assert jobs() == ["2.0"]
    assert local.delete(path).status_code == 204
    assert jobs() == []


@pytest.mark.slow
def test_metrics_name_the_first_hundred_streams_of_an_experiment(local: Any) -> None:
    experiment = local.experiment()
    for number in range(103):
        local.drift(experiment, parameters={"stream": f"s{number:03}"})
    lines = local.client.get("/metrics").text.splitlines()
    named = [line for line in lines if line.startswith("lenswatch_jobs{")]
    assert len(named) == 101
    assert any('stream="(others)"' in line and line.endswith(" 3.0") for line in named)
