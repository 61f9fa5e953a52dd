"""The parameters of a job as its panel lists them, and the numeric ones among them as paths for axes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lenswatch.server.pages.words import is_number

__all__ = ["paths_of", "shown_parameters"]

_DRAWN_ELSEWHERE = frozenset({"deviations", "causes", "calibration_notes"})
_MOST_PATHS = 60
_DEEPEST = 4


def shown_parameters(parameters: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values in words."""
    return [
        (name, _readable(value))
        for name, value in parameters.items()
        if name not in _DRAWN_ELSEWHERE
    ]


def _readable(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {json.dumps(inner)}" for name, inner in value.items()) or "{}"
    return value if isinstance(value, str) else json.dumps(value)


def paths_of(parameters: Mapping[str, Any]) -> list[str]:
    """Return the paths of numeric parameters: "score", "window.filled"."""
    return [path for path, _ in zip(_numeric(parameters, (), _DEEPEST), range(_MOST_PATHS))]  # noqa: B905


def _numeric(values: Mapping[str, Any], above: tuple[str, ...], levels: int) -> Iterator[str]:
    for name, value in values.items():
        if is_number(value):
            yield ".".join((*above, name))
        elif isinstance(value, Mapping) and levels:
            yield from _numeric(value, (*above, name), levels - 1)
