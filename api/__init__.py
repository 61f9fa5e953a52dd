"""The DEEPaaS module, which `deepaas-run` finds through the entry point `deepaas.v2.model`.

DEEPaaS imports this module in its parent process, which must stay small, and calls `warm`, `predict`
and `train` in spawned worker processes. torch is imported there and nowhere else, to train, or to serve a
reference without a light form.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from lenswatch.api.schemas import ModelPredictionResponse, checked, predict_fields, train_fields

from lenswatch import __version__

__all__ = [
    "get_metadata",
    "get_predict_args",
    "get_train_args",
    "predict",
    "schema",
    "train",
    "warm",
]

log = logging.getLogger(__name__)

schema = ModelPredictionResponse
get_predict_args = predict_fields
get_train_args = train_fields


def get_metadata() -> dict[str, Any]:
    """Return the description of the module that `GET /v2/models/lenswatch/` sends."""
    return {
        "id": "lenswatch",
        "name": "lenswatch",
        "description": (
            "Notices that a camera's pictures no longer look like the ones its vision model was made for."
        ),
        "license": "Apache-2.0",
        "author": "The Lenswatch authors",
        "author-email": "maintainers@lenswatch.example",  # as in pyproject.toml
        "version": __version__,
    }


def warm() -> None:
    """Load the current reference, if there is one, so that the first picture does not wait for it.

    This is called in each worker process before it takes a call, and by DEEPaaS at its start.
    """
    from lenswatch.api import worker

    worker.warm()


def predict(**arguments: Any) -> dict[str, Any]:
    """Judge one uploaded picture; `lenswatch.api.schemas` describes arguments and answer."""
    from lenswatch.api import worker

    return worker.predict(**arguments)


def train(**arguments: Any) -> dict[str, Any]:
    """Train on the configured clean pictures and make the new reference current."""
    from lenswatch.api import worker

    return worker.train(**checked(get_train_args(), arguments))


if (
    getattr(sys.modules.get("deepaas.api"), "APP", None) is not None
):  # not in a worker, which starts sooner so
    from lenswatch.api import parent

    parent.attach(sys.modules[__name__])
