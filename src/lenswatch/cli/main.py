"""The `lenswatch` command. Each group of commands is in a module of its own."""

from __future__ import annotations

import copy
import errno
import logging
import sys
from typing import Any

import click

from lenswatch import __version__
from lenswatch.cli.annotate import annotate
from lenswatch.cli.backfill import backfill
from lenswatch.cli.baseline import accept, baseline
from lenswatch.cli.check import check
from lenswatch.cli.collect import collect
from lenswatch.cli.evaluate import compare, evaluate
from lenswatch.cli.imports import import_
from lenswatch.cli.keys import keys
from lenswatch.cli.outbox import outbox
from lenswatch.cli.predict import explain, predict
from lenswatch.cli.reference import reference
from lenswatch.cli.reference_shown import compare as compare_two
from lenswatch.cli.reference_shown import show
from lenswatch.cli.references import references, use
from lenswatch.cli.server import server
from lenswatch.cli.streams import reset, status
from lenswatch.cli.train import adopt, calibrate, train
from lenswatch.cli.tune import tune
from lenswatch.cli.up import demo, up
from lenswatch.cli.watch import watch
from lenswatch.errors import LenswatchError

__all__ = ["main"]

# Modules that an installation of only the other half lacks, by the extra that installs them.
_EXTRAS = {
    "node": {
        "deepaas",
        "frouros",
        "matplotlib",
        "numpy",
        "onnx",
        "onnxruntime",
        "requests",
        "safetensors",
        "scipy",
        "torch",
        "watchfiles",
    },
    "mlflow": {"mlflow", "pandas"},
    "dask": {"distributed", "fsspec", "pyarrow"},
    "server": {"alembic", "anyio", "httpx2", "jinja2", "joserfc", "starlette", "uvicorn"},
}


class _Commands(click.Group):
    """A group whose expected errors become one line on standard error and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LenswatchError as error:
            problem = str(error)
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of our output is gone; click handles that
                raise
            known = [str(part) for part in (error.filename, error.strerror) if part]
            problem = ": ".join(known) or str(error)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            extra = next((extra for extra, names in _EXTRAS.items() if missing in names), None)
            if extra is None:
                raise
            problem = (
                f"this command needs {missing}, which is not installed here; "
                f"pip install 'lenswatch[{extra}]' installs it"
            )
        click.echo(f"lenswatch: {problem}", err=True)
        return ctx.exit(1)


class _Stderr(logging.Handler):
    """A handler that looks up sys.stderr at each record, because a progress bar may replace it.

    `click.echo` would write past the bar: rich's replacement has no encoding, so click unwraps it.
    """

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Notice that a camera's pictures no longer look like the ones its model was made for."""
    logging.basicConfig(
        level=logging.WARNING, format="lenswatch: %(message)s", handlers=[_Stderr()]
    )


for command in (
    *(up, demo, server, keys, import_),
    *(check, train, calibrate, collect, adopt, reference, references, use, evaluate, tune, compare),
    *(predict, watch, backfill, explain, status, reset, accept, baseline, annotate, outbox),
):
    main.add_command(command)

for name, command in {"list": references, "use": use, "show": show, "compare": compare_two}.items():
    named = copy.copy(command)
    named.name = name
    reference.add_command(named)
