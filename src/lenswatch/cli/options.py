"""What the commands have in common."""

from __future__ import annotations

import warnings
from pathlib import Path

import click

from lenswatch.config import Config, load_config

__all__ = ["with_config"]


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
    help="Settings file; else $LENSWATCH_CONFIG, else ./config.toml.",
)
