"""The references that judged the pictures of a camera, to compare one with the others."""

from __future__ import annotations

from collections.abc import Sequence

from lenswatch.server.pages.points import Point

__all__ = ["of_model", "references_of", "short_model"]

_DIGEST = 8  # characters that tell references apart


def short_model(model: str) -> str:
    """Return a model's version as short as people write it.

    >>> short_model("lenswatch@0123456789abcdef"), short_model("resnet 2")
    ('01234567', 'resnet 2')
    """
    name, at, digest = model.partition("@")
    return digest[:_DIGEST] if at and digest else name


def references_of(points: Sequence[Point], chosen: str | None = None) -> list[tuple[str, str]]:
    """Return version and short name of the models of the points, the oldest first, if there are several.

    Args:
        points: In the order of time.
        chosen: A model that is named even if no point is of it.
    """
    found = dict.fromkeys(point.model for point in points if point.model)
    if chosen:
        found.setdefault(chosen)
    return [(model, short_model(model)) for model in found] if len(found) > 1 else []


def of_model(points: Sequence[Point], model: str) -> tuple[list[Point], list[Point]]:
    """Return the points that other models judged, and those of this one."""
    others = [point for point in points if point.model != model]
    return others, [point for point in points if point.model == model]
