"""Options that several commands share."""

from __future__ import annotations

import warnings
from pathlib import Path

import click

from lenswatch.config import Config, load_config

__all__ = ["FILE", "FOLDER", "PORT", "with_config"]

FILE = click.Path(dir_okay=False, path_type=Path)  # to be written
PORT = click.IntRange(1, 65535)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def _load(_ctx: click.Context, _parameter: click.Parameter, value: Path | None) -> Config:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = load_config(value)
    for warning in caught:
        click.echo(f"lenswatch: warning: {warning.message}", err=True)
    return config


with_config = click.option(
    "--config",
    type=click.Path(path_type=Path),
    callback=_load,
    help="Settings file. Default: $LENSWATCH_CONFIG, else ./config.toml.",
)
