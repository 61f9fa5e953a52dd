"""Detection takes arrays and returns arrays: it opens nothing, connects to nothing and needs no torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

NOTHING_ELSE = """
import importlib, pkgutil, sys
import lenswatch.detect

for module in pkgutil.walk_packages(lenswatch.detect.__path__, "lenswatch.detect."):
    importlib.import_module(module.name)
forbidden = {"torch", "torchvision", "sqlite3", "sqlalchemy", "requests", "matplotlib", "deepaas"}
assert not forbidden & set(sys.modules), forbidden & set(sys.modules)
ours = {name.split(".")[1] for name in sys.modules if name.startswith("lenswatch.")}
assert ours == {"detect", "errors"}, ours
"""

NOTHING_OPENED = """
import sys
import numpy as np
import pytest

from lenswatch.detect.chart.causes import causes
from lenswatch.detect.chart.chart import ChartState
from lenswatch.detect.chart.fitting import fit_chart
from lenswatch.detect.chart.features import measure, measure_all, view
from lenswatch.detect.mmd_streaming import MMDStreaming

rng = np.random.default_rng(0)
pictures = rng.integers(0, 255, (80, 96, 120, 3), np.uint8)

def watch(event, arguments):
    if event.split(".")[0] in ("open", "socket", "subprocess", "os", "sqlite3"):
        raise AssertionError(f"{event} {arguments}")

def detect():
    fit = fit_chart(measure_all(pictures), ert=200)
    state = fit.chart.start()
    for picture in pictures[:14]:
        state = fit.chart.update(state, measure(view(picture)))
    state = ChartState.from_bytes(state.to_bytes())
    causes(fit.chart, state, 1e-6, 1e-6)
    detector = MMDStreaming(window_size=4)
    detector.fit(X=rng.normal(size=(60, 3)))
    for row in rng.normal(size=(8, 3)):
        detector.update(row)

detect()  # what is imported late is imported now
sys.addaudithook(watch)
detect()
"""


def python(code: Any) -> None:
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.slow
def test_detection_imports_no_torch_no_database_and_no_other_package_of_ours() -> None:
    python(NOTHING_ELSE)


@pytest.mark.slow
def test_detection_opens_no_file_and_no_connection() -> None:
    python(NOTHING_OPENED)
