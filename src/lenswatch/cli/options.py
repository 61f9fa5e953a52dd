"""Options that several commands share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lenswatch.config import Config, load_config

if TYPE_CHECKING:
    from lenswatch.cluster.connection import Cluster

__all__ = [
    "FILE",
    "FOLDER",
    "PORT",
    "at_scheduler",
    "with_cluster",
    "with_config",
    "with_scheduler",
]

FILE = click.Path(dir_okay=False, path_type=Path)  # to be written
Command = TypeVar("Command", bound=Callable[..., Any])

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


def with_scheduler(command: Command) -> Command:
    """Add the option of commands whose work a Dask cluster may do."""
    return click.option(
        "--scheduler", metavar="tcp://HOST:PORT", help="Dask scheduler whose workers do the work."
    )(command)


def with_cluster(command: Command) -> Command:
    """Add the options of commands whose work a Dask cluster does in any case."""
    scheduler = click.option(
        "--scheduler",
        metavar="tcp://HOST:PORT",
        help="Dask scheduler whose workers do the work. Default: one on this machine.",
    )
    workers = click.option(
        "--workers",
        type=click.IntRange(1),
        help="Processes on this machine, without --scheduler. Default: one for each core.",
    )
    return scheduler(workers(command))


@contextmanager
def at_scheduler(scheduler: str | None) -> Iterator[Cluster | None]:
    """Connect to the cluster of a scheduler for the block; yield None without a scheduler.

    Raises:
        WorkerError: The scheduler cannot be reached.
    """
    if scheduler is None:
        yield None
        return
    from lenswatch.cluster.connection import opened_cluster

    with opened_cluster(scheduler) as cluster:
        click.echo(f"lenswatch: dashboard of the cluster: {cluster.dashboard}", err=True)
        yield cluster
