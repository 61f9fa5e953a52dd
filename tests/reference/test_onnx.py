"""onnxruntime, kept from reporting to its maker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_no_identifier_for_reports_is_written(tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    encoder = "import lenswatch.reference.onnx_encoder"
    subprocess.run([sys.executable, "-c", encoder], env=environment, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []
