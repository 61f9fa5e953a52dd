"""Detectors by name: the built-in ones, and MODULE:FUNCTION of a user's own."""

from __future__ import annotations

import importlib

from lenswatch.errors import InputError
from lenswatch.evaluate.ours import make_detector
from lenswatch.evaluate.protocol import MakeDetector
from lenswatch.evaluate.rivals import RIVALS

__all__ = ["BUILT_IN", "maker"]

BUILT_IN: dict[str, MakeDetector] = {"lenswatch": make_detector, **RIVALS}


def maker(name: str) -> MakeDetector:
    """What makes the detector of that name.

    Raises:
        InputError: it is neither built in nor can it be imported.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    module, _, function = name.partition(":")
    try:
        make: MakeDetector = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError):
        raise InputError(
            f"--detector {name}: give MODULE:FUNCTION that can be imported, or one of "
            + ", ".join(BUILT_IN)
        ) from None
    return make
