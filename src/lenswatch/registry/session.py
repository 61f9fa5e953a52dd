"""The connection to MLflow: its settings, and its errors as ours."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lenswatch.errors import RegistryError

__all__ = ["ADDRESS", "connected"]

ADDRESS = "MLFLOW_TRACKING_URI"
# MLflow's own defaults let a server that is down take some ten minutes.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",  # seconds
    "MLFLOW_DISABLE_TELEMETRY": "true",  # it reports usage to its makers otherwise, as it is imported
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",  # the code that called it need not be in a repository
}
_ACCOUNT = re.compile(r"//[^/@\s]+@")
_LOGGERS = ("urllib3", "mlflow")  # they would repeat in many lines what our error says


@contextmanager
def connected() -> Iterator[Any]:
    """Yield an `mlflow.MlflowClient` for $MLFLOW_TRACKING_URI, with the account of $MLFLOW_TRACKING_*.

    Raises:
        RegistryError: The variable is not set, or what is done with the client fails.
    """
    address = os.environ.get(ADDRESS, "").strip()
    if not address:
        raise RegistryError(f"{ADDRESS} is not set; set it to the address of your MLflow server")
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of MLflow are for people who call it themselves
        import mlflow

        levels = {name: logging.getLogger(name).level for name in _LOGGERS}
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            yield mlflow.MlflowClient(address)
        except (mlflow.exceptions.MlflowException, OSError) as error:
            raise RegistryError(_told(address, error)) from None
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


def _told(address: str, error: Exception) -> str:
    """Return the first line of an error, without the password that may be in the address."""
    first = next(iter(str(error).splitlines()), type(error).__name__)
    return _ACCOUNT.sub("//", f"MLflow at {address}: {first}")[:400]
