"""`make bench`: prints the ratios and writes them to benchmarks/latest.json."""

from __future__ import annotations

import json
import platform
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import node
from benchmarks.timing import Comparison

LATEST = Path(__file__).with_name("latest.json")
MEMORY_GOAL = 200.0  # MB


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("predict", "whole", "chart", "calibration", "recording", "parent"):
            (root / name).mkdir()
        comparisons = [
            node.predict_path(root / "predict"),
            node.with_lens_chart(root / "whole"),
            node.lens_chart(root / "chart"),
            node.calibration(root / "calibration"),
            node.detector_update(400, 32, 12, goal=2, runs=2000),
            node.detector_update(10_000, 200, 100, goal=30, runs=15),
            node.recording(root / "recording"),
        ]
        memory = node.parent_memory(root / "parent")
    _show(comparisons, memory)
    document = {
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}",
        "comparisons": [each.to_json() for each in comparisons],
        "deepaas_parent_mb": round(memory, 1),
        "deepaas_parent_goal_mb": MEMORY_GOAL,
    }
    LATEST.write_text(json.dumps(document, indent=2) + "\n")


def _show(comparisons: list[Comparison], memory: float) -> None:
    table = Table("what", "ours, ms", "theirs, ms", "times faster", "goal")
    for each in comparisons:
        table.add_row(
            each.name,
            f"{each.ours:.3f}",
            f"{each.theirs:.3f}",
            f"{each.ratio:.1f}",
            f"{each.goal:g}" if each.goal else "-",
        )
    Console().print(table)
    Console().print(
        f"DEEPaaS parent process: {memory:.0f} MB resident (goal: under {MEMORY_GOAL:.0f})"
    )


if __name__ == "__main__":
    main()
