"""`lenswatch reference list`, `show`, `use` and `compare`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conftest import Camera, write_settings
from lenswatch.cli import reference_shown
from lenswatch.cli.main import main
from lenswatch.config import Config
from lenswatch.node.observe import Node
from lenswatch.node.recalibrate import take_up
from lenswatch.node.request import Request, open_store
from lenswatch.reference.paths import current_digest
from lenswatch.reference.training import build_reference, find_pictures


@pytest.fixture
def second(trained: Config) -> str:
    """Digest of another reference, trained on the same pictures, and calibrated; it is in use."""
    encoder = dataclasses.replace(trained.encoder, seed=7)
    pictures = find_pictures(trained.image_folder, ["clean/*"])
    config = dataclasses.replace(trained, encoder=encoder)
    reference = build_reference(config, pictures, make_current=False)
    take_up(config, reference)
    return reference.digest


@pytest.fixture
def folder(tmp_path: Path, camera: Camera) -> Path:
    path = tmp_path / "later"
    path.mkdir()
    for i in range(16):
        (path / f"{i:02}.jpg").write_bytes(camera(60 + i, blurred=i >= 4))
    (path / "99.jpg").write_bytes(b"no picture")
    return path


def test_show_tells_what_the_reference_was_made_of(trained: Config) -> None:
    digest = current_digest(trained.storage_path)
    facts = json.loads(run_group(trained, "show", "--json").output)
    assert facts["reference"] == digest
    assert facts["in use"] is True
    assert facts["clean pictures"] == 60
    assert facts["encoder"]["latent_dim"] == 8
    assert facts["calibrated streams"] == ["default"]
    text = run_group(trained, "show").output
    assert f"reference: {digest}" in text
    assert "in use: yes" in text
    assert "metrics: epochs 4, " in text


def test_show_tells_from_when_to_when_the_pictures_were_taken(
    trained: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = ["2026-06-01T08:00:00Z", "2026-06-01T09:00:00Z"]
    monkeypatch.setattr(reference_shown, "_facts", lambda *_: {"taken": ends})
    assert run_group(trained, "show").output == f"taken: {ends[0]} to {ends[1]}\n"


@pytest.mark.slow
def test_two_references_are_compared_and_one_is_gone_back_to(
    trained: Config, second: str, folder: Path
) -> None:
    first = next(
        name
        for name in (path.name for path in (trained.storage_path / "reference").iterdir())
        if name not in (second, "current")
    )
    listed = run_group(trained, "list").output
    assert first in listed
    assert second in listed
    ended = run_group(trained, "compare", first[:8], second[:8], str(folder))
    assert ended.exit_code == 0, ended.output
    rows = [line.split("│")[1:] for line in ended.stdout.splitlines() if line.startswith("│")]
    assert [row[0].strip() for row in rows] == [first, second]
    assert [row[1].strip() for row in rows] == ["16", "16"]
    assert all(int(row[2]) > 8 for row in rows)
    assert "judged" in ended.stdout
    told = run_group(trained, "compare", "--json", first, second, str(folder)).stdout
    answers = [json.loads(line) for line in told.splitlines()]
    assert open_store(trained).streams() == []
    node = Node(trained)
    for answer in answers:
        judged = node.observe(folder / answer["image_name"], Request(stream="live"))
        assert judged["distance"] == pytest.approx(answer[second]["distance"])
        assert judged["drift"] == answer[second]["drift"]
    assert run_group(trained, "use", first[:8]).exit_code == 0
    assert current_digest(trained.storage_path) == first


def run_group(config: Config, *arguments: str) -> Any:
    settings = write_settings(config.storage_path.parent)
    command, *rest = arguments
    return CliRunner().invoke(main, ["reference", command, "--config", str(settings), *rest])
