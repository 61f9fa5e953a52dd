"""Pictures of a folder in time order, with what users should know of that order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lenswatch.config import Config

if TYPE_CHECKING:
    from lenswatch.reference.order import Ordered

__all__ = ["find_told", "tell_order"]


def find_told(
    config: Config, folder: Path, patterns: Sequence[str], key: str = "camera_state.clean"
) -> Ordered:
    """Return the pictures as `find_in_order` does, and tell the order on standard error.

    Raises:
        ConfigError: A pattern is absolute or matches no picture.
    """
    from lenswatch.reference.order import find_in_order

    return tell_order(folder, find_in_order(folder, patterns, config.camera.zone, key))


def tell_order(folder: Path, found: Ordered) -> Ordered:
    """Tell the order of a folder's pictures on standard error, and return them."""
    click.echo(f"lenswatch: {folder}: {found.told()}", err=True)
    for note in found.notes:
        click.echo(f"lenswatch: {folder}: {note}", err=True)
    return found
