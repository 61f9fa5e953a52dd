"""Memory that is kept for the next picture."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from lenswatch.memory import keep_freed_memory

def work():
    values = np.ones((7, 128, 160), np.float32)
    for _ in range(20):
        values = values * 2

if sys.argv[1] == "kept":
    keep_freed_memory()
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Return the pages that a fresh process gets from the kernel while it computes."""
    command = [sys.executable, "-c", FAULTS, how]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


@pytest.mark.slow
def test_a_picture_uses_the_memory_of_the_one_before() -> None:
    if sys.platform != "linux":
        pytest.skip("by design: it is about glibc")
    assert faults("kept") < 100 < 1000 < faults("not kept")


COLLECTIONS = """
import gc, json, sys
from lenswatch.memory import collect_rarely

started = [[number] for number in range(300_000)]
if sys.argv[1] == "rarely":
    collect_rarely()
whole = []
gc.callbacks.append(lambda phase, info: whole.append(info) if info["generation"] == 2 else None)
text = json.dumps([[[1, 2], [3, 4]]] * 3000)
for _ in range(20):
    held = [json.loads(text) for _ in range(10)]
print(len(whole))
"""


@pytest.mark.slow
def test_what_exists_at_the_start_is_not_collected_again_and_again() -> None:
    command = [sys.executable, "-c", COLLECTIONS]
    rarely, often = (
        int(subprocess.run([*command, how], capture_output=True, check=True, text=True).stdout)
        for how in ("rarely", "often")
    )
    assert rarely < often
