"""Training, calibration and evaluation with the workers of a cluster, and one process as the oracle."""

from __future__ import annotations

import contextlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from backfill.conftest import Run
from conftest import Camera
from lenswatch.cluster.connection import opened_cluster
from lenswatch.config import Config
from lenswatch.evaluate.protocol import Plan
from lenswatch.evaluate.running import opened_pool
from lenswatch.evaluate.tuning import Candidate, tune
from lenswatch.progress import no_progress
from lenswatch.reference.artefact import load_reference
from lenswatch.reference.paths import calibration_folder, current_digest
from support.dask_cluster import DaskCluster

pytestmark = pytest.mark.slow


def test_calibration_is_the_same(
    trained: Config, run: Run, camera: Camera, cluster: DaskCluster, tmp_path: Path
) -> None:
    """One picture cannot be read, and one is a copy."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(60, 120):
        (folder / f"{i:03}.jpg").write_bytes(b"broken" if i == 70 else camera(max(i, 61)))
    found: list[dict[str, Any]] = []
    for options in ((), ("--scheduler", cluster.address)):
        ended = run("calibrate", "--stream", "reef", *options, folder)
        assert ended.exit_code == 0, ended.output
        digest = current_digest(trained.storage_path)
        assert digest is not None
        file = calibration_folder(trained.storage_path) / digest / "reef.json"
        document = json.loads(file.read_bytes())
        found.append({k: v for k, v in document.items() if k not in ("created_at", "sha256")})
        file.unlink()
    assert "dashboard of the cluster" in ended.stderr
    assert found[0] == found[1]


def test_training_is_the_same(
    config: Config, run: Run, camera: Camera, cluster: DaskCluster, tmp_path: Path
) -> None:
    clean = config.image_folder / "clean"
    clean.mkdir(parents=True)
    for i in range(40):
        (clean / f"{i:03}.jpg").write_bytes(camera(i))
    digests = []
    for options in ((), ("--scheduler", cluster.address)):
        ended = run("train", *options)
        assert ended.exit_code == 0, ended.output
        digests.append(current_digest(config.storage_path))
    assert digests[0] == digests[1]
    reference = load_reference(config.storage_path, digests[1])
    assert len(reference.embeddings) == 40


def test_evaluation_is_the_same(
    config: Config, run: Run, camera: Camera, cluster: DaskCluster, tmp_path: Path
) -> None:
    folder = tmp_path / "clean"
    folder.mkdir()
    for i in range(262):
        (folder / f"{i:03}.jpg").write_bytes(camera(i))
    found = []
    for name, options in {
        "one": ("--processes", "1"),
        "two": ("--scheduler", cluster.address),
    }.items():
        file = tmp_path / f"{name}.json"
        given = ("--detector", "support.detectors:brightness", "--onsets", "1", "--json", file)
        ended = run("evaluate", *options, *given, folder)
        assert ended.exit_code == 0, ended.output
        found.append(json.loads(file.read_text()))
    assert found[0] == found[1]


def test_a_search_for_settings_is_the_same(
    config: Config, camera: Camera, cluster: DaskCluster, tmp_path: Path
) -> None:
    pictures = [tmp_path / f"{i:03}.jpg" for i in range(104)]
    for i, file in enumerate(pictures):
        file.write_bytes(camera(i))
    plan = Plan(horizon=14, onsets=1, lead=6, corruptions=("brightness",))
    candidates = [Candidate(4, 1e-4, 4), Candidate(4, 1e-4, 6, 2.0)]

    class Here:
        def each(self, work: Any, arguments: Any) -> list[Any]:
            return [work(*each) for each in arguments]

    here = tune(pictures, config, candidates, lambda _: contextlib.nullcontext(Here()), plan)
    with opened_cluster(cluster.address) as connected:
        pool = partial(opened_pool, 1, progress=no_progress, cluster=connected)
        there = tune(pictures, config, candidates, pool, plan)
    assert [each.candidate for each in there.trials] == [each.candidate for each in here.trials]
    for one, other in zip(here.trials, there.trials, strict=True):
        assert (one.delay, one.noticed) == (other.delay, other.noticed)
        assert one.sigma == pytest.approx(other.sigma, rel=1e-4)
