"""Lenswatch notices that a camera's pictures no longer look like the ones its model was made for.

The public names are imported when they are first used. Importing `lenswatch` itself, as DEEPaaS does in
its parent process and the tracking server everywhere, never loads torch or Frouros.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lenswatch.client.monitor import DriftMonitor as DriftMonitor
    from lenswatch.client.monitor import new_experiment as new_experiment
    from lenswatch.client.monitor import register as register
    from lenswatch.detect.mmd_streaming import MMDStreaming as MMDStreaming
    from lenswatch.sources.monitor import Monitor as Monitor

__version__ = "0.1.0"  # pyproject.toml reads it from here

_HOMES = {
    "MMDStreaming": "lenswatch.detect.mmd_streaming",
    "Monitor": "lenswatch.sources.monitor",
    "DriftMonitor": "lenswatch.client.monitor",
    "new_experiment": "lenswatch.client.monitor",
    "register": "lenswatch.client.monitor",
}

__all__ = ["DriftMonitor", "MMDStreaming", "Monitor", "__version__", "new_experiment", "register"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lenswatch' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
