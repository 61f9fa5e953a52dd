"""The lines that worker processes write to the log."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

LINE = re.compile(
    r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \d+ WARNING lenswatch\.node \[-\] a disk fails$"
)
IN_A_WORKER = """
import logging, multiprocessing
from functools import partial
from lenswatch.api.workers.serving import serve

def main():
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    warm = partial(logging.getLogger("lenswatch.node").warning, "a disk fails")
    process = context.Process(target=serve, args=(theirs, warm))
    process.start()
    theirs.close()
    assert ours.recv() == ("ready", None)
    ours.close()
    process.join(60)

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
def test_lines_of_workers_have_a_date_and_the_form_of_deepaas(tmp_path: Path) -> None:
    (script := tmp_path / "main.py").write_text(IN_A_WORKER)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=120, check=True
    )
    assert LINE.match(done.stderr.strip().splitlines()[-1]), done.stderr
