"""onnxruntime, kept from reporting to its maker.

From 1.32 on, the wheels for Linux report how they are used to Microsoft unless the environment forbids it
before they are imported. Import it from here; who wants the reports sets ORT_DISABLE_TELEMETRY=0.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime"]
