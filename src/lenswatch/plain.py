"""Any value as plain JSON: what is sent or stored never breaks a parser."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["plain", "to_json"]


def to_json(value: Any) -> str:
    """`value` as JSON text. NaN and infinities become null, numpy values Python ones."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError):
        return json.dumps(plain(value), allow_nan=False, separators=(",", ":"))


def plain(value: Any) -> Any:
    """`value` in None, bool, int, float, str, list and dict; what fits none of them as its text.

    >>> plain({"distance": float("nan"), 4: (1, 2.5)})
    {'distance': None, '4': [1, 2.5]}
    """
    if value is None or isinstance(value, bool | str):
        return value if type(value) in (bool, str, type(None)) else str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if callable(getattr(value, "tolist", None)):  # numpy arrays and scalars, torch tensors
        return plain(value.tolist())
    if callable(getattr(value, "isoformat", None)):
        return value.isoformat()
    return str(value)
