"""Detectors by name: the built-in ones, and MODULE:FUNCTION of a user's own."""

from __future__ import annotations

import functools
import importlib
import inspect
from typing import Any

from lenswatch.errors import InputError
from lenswatch.evaluate.encoding import Encoder
from lenswatch.evaluate.ours import make_detector
from lenswatch.evaluate.protocol import MakeDetector
from lenswatch.evaluate.rivals import RIVALS

__all__ = ["BUILT_IN", "maker", "takes_encoder", "with_encoder"]

BUILT_IN: dict[str, MakeDetector] = {"lenswatch": make_detector, **RIVALS}


def maker(name: str) -> MakeDetector:
    """Return the function that makes the detector of that name.

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


def takes_encoder(make: MakeDetector) -> bool:
    """Tell whether a maker has a parameter `encoder`, for the encoder that detectors share."""
    return "encoder" in inspect.signature(make).parameters


def with_encoder(make: MakeDetector, encoder: Encoder | None) -> MakeDetector:
    """Return the maker with the shared encoder, if there is one and the maker takes it."""
    given: dict[str, Any] = {}
    if encoder is not None and takes_encoder(make):
        given["encoder"] = encoder
    return functools.partial(make, **given)
