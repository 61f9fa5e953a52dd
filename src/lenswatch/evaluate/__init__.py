"""Evaluation of drift detectors on a user's own footage; docs/evaluate.md has the protocol."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lenswatch.evaluate.conformance import check_detector as check_detector
    from lenswatch.evaluate.corruptions import CORRUPTIONS as CORRUPTIONS
    from lenswatch.evaluate.corruptions import corruption as corruption
    from lenswatch.evaluate.ours import make_detector as make_detector
    from lenswatch.evaluate.protocol import Outcome as Outcome
    from lenswatch.evaluate.protocol import Plan as Plan
    from lenswatch.evaluate.protocol import evaluate as evaluate
    from lenswatch.evaluate.protocol import figures as figures
    from lenswatch.evaluate.rivals import RIVALS as RIVALS

_HOMES = {
    "CORRUPTIONS": "corruptions",
    "RIVALS": "rivals",
    "Outcome": "protocol",
    "Plan": "protocol",
    "check_detector": "conformance",
    "corruption": "corruptions",
    "evaluate": "protocol",
    "figures": "protocol",
    "make_detector": "ours",
}

__all__ = [
    "CORRUPTIONS",
    "RIVALS",
    "Outcome",
    "Plan",
    "check_detector",
    "corruption",
    "evaluate",
    "figures",
    "make_detector",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lenswatch.evaluate' has no attribute {name!r}")
    return getattr(importlib.import_module(f"lenswatch.evaluate.{_HOMES[name]}"), name)
