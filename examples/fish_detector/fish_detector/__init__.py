"""A fish detector as a DEEPaaS module that watches its own inputs and outputs."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from marshmallow import fields

from lenswatch import Monitor

__all__ = ["get_metadata", "get_predict_args", "predict", "schema", "warm"]

schema = {
    "detections": fields.List(fields.Dict(), required=True),
    "inputs": fields.Dict(required=True),
    "outputs": fields.Dict(required=True),
}


def get_metadata() -> dict[str, Any]:
    """Return the description of the module."""
    return {"id": "fish_detector", "name": "fish_detector", "version": "0.1.0"}


def get_predict_args() -> dict[str, fields.Field]:
    """Return the arguments of `predict`."""
    upload = {"type": "file", "location": "form", "description": "The image to look for fish in."}
    return {
        "input_file": fields.Field(required=True, metadata=upload),
        "stream": fields.Str(load_default="default"),
    }


@functools.cache
def _monitor() -> Monitor:
    return Monitor()  # one for each process, by the config.toml or the variables that are there


@functools.cache
def _detector() -> Any:
    from fish_detector.detector import Detector

    return Detector.load(_monitor().config.storage_path)


def warm() -> None:
    """Load the model, so that the first picture does not wait for it."""
    _detector()


def predict(input_file: Any, stream: str = "default") -> dict[str, Any]:
    """Find the fish, and say whether inputs and outputs still are what they were."""
    picture = Path(input_file.filename)
    try:
        inputs = _monitor().observe(picture, stream=stream, name=input_file.original_filename)
        detections = _detector().detect(picture)
        outputs = _monitor().outputs(detections, stream=stream)
    finally:
        picture.unlink(missing_ok=True)  # DEEPaaS leaves its copy to the module
    return {"detections": detections, "inputs": inputs, "outputs": outputs}
