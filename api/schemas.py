"""The arguments and the answer of the DEEPaaS hooks, as marshmallow fields."""

from __future__ import annotations

import re
from datetime import UTC
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from lenswatch.config import load_config
from lenswatch.wire import EVENT_ID, STREAM

__all__ = ["Prediction", "predict_fields", "train_fields"]


def _for_browsers(pattern: re.Pattern[str]) -> str:
    """The pattern as JavaScript knows it: the Swagger UI checks with it before it sends."""
    return f"^{pattern.pattern.removesuffix(chr(92) + 'Z')}$"


def _is_upload(value: Any) -> None:
    if not hasattr(value, "filename"):
        raise ValidationError("Send the picture as a file (multipart/form-data).")


def predict_fields() -> dict[str, fields.Field]:
    """The arguments of `predict`."""
    return {
        "input_file": fields.Field(  # this very class: deepaas-cli asks for it
            required=True,
            validate=_is_upload,
            metadata={"type": "file", "location": "form", "description": "The picture to judge."},
        ),
        "stream": fields.Str(
            load_default="default",
            validate=validate.Regexp(
                _for_browsers(STREAM),
                error="Use 1 to 64 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit.",
            ),
            metadata={"description": "The camera that the picture comes from."},
        ),
        "drift_distance": fields.Float(
            load_default=None,
            metadata={"description": "Fixed rule for this call: drift when distance is above it."},
        ),
        "warning_distance": fields.Float(
            load_default=None,
            metadata={
                "description": "Fixed rule for this call: warning when distance is above it."
            },
        ),
        "event_id": fields.Str(
            load_default=None,
            validate=validate.Regexp(
                _for_browsers(EVENT_ID), error="Use 1 to 64 of A-Z, a-z, 0-9, '.', '_', ':', '-'."
            ),
            metadata={
                "description": "Names this call; a retry with the same id counts nothing twice."
            },
        ),
        "captured_at": fields.AwareDateTime(
            format="iso",
            default_timezone=UTC,
            load_default=None,
            metadata={
                "description": "When the picture was taken (ISO 8601; UTC without an offset)."
            },
        ),
    }


def train_fields() -> dict[str, fields.Field]:
    """The arguments of `train`; their defaults are those of config.toml."""
    encoder = load_config().encoder
    return {
        "epochs": fields.Int(
            load_default=encoder.epochs,
            validate=validate.Range(min=1, max=10_000),
            metadata={"description": "Passes over the clean pictures, at most."},
        ),
        "learning_rate": fields.Float(
            load_default=encoder.learning_rate,
            validate=validate.Range(min=0, min_inclusive=False),
            metadata={"description": "Step size of the Adam optimiser."},
        ),
        "seed": fields.Int(
            load_default=encoder.seed,
            validate=validate.Range(min=0),
            metadata={"description": "The same seed and pictures give the same reference."},
        ),
    }


class Window(Schema):
    """How much of the sliding window is filled."""

    filled = fields.Int(required=True, metadata={"description": "Pictures in the window."})
    size = fields.Int(required=True, metadata={"description": "Pictures that fill it."})


class Cause(Schema):
    """One thing that has changed."""

    name = fields.Str(required=True, metadata={"description": "blurred, darker, and so on."})
    strength = fields.Float(required=True, metadata={"description": "1 at the drift threshold."})
    cells = fields.List(
        fields.List(fields.Int()), metadata={"description": "Row and column of the 4 x 5 cells."}
    )


class Prediction(Schema):
    """The answer of `predict`."""

    drift = fields.Bool(required=True, metadata={"description": "The pictures have drifted."})
    warning = fields.Bool(required=True, metadata={"description": "They may be about to."})
    distance = fields.Float(
        required=True,
        allow_none=True,
        metadata={
            "description": "Unbiased MMD² to the clean pictures; null until the window is full."
        },
    )
    drift_distance = fields.Float(
        required=True, allow_none=True, metadata={"description": "The threshold for drift."}
    )
    warning_distance = fields.Float(
        required=True, allow_none=True, metadata={"description": "The threshold for warning."}
    )
    alarm = fields.Bool(
        required=True,
        metadata={"description": "Raised with drift; falls after a full window without warnings."},
    )
    score = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "Of the lens chart; null without one."},
    )
    drift_score = fields.Float(
        required=True, allow_none=True, metadata={"description": "The score's threshold for drift."}
    )
    warning_score = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "The score's threshold for warning."},
    )
    causes = fields.List(
        fields.Nested(Cause),
        required=True,
        metadata={"description": "What has changed, the strongest first."},
    )
    deviations = fields.List(
        fields.List(fields.Float()),
        metadata={"description": "4 x 5 cells: deviations from clean footage."},
    )
    nearest = fields.Str(
        required=True, allow_none=True, metadata={"description": "The most similar clean picture."}
    )
    calibrated = fields.Bool(
        required=True,
        metadata={"description": "False: provisional thresholds, too little footage."},
    )
    calibration_notes = fields.List(
        fields.Str(),
        metadata={"description": "What to know of the thresholds; absent when all is well."},
    )
    window = fields.Nested(Window, required=True)
    stream = fields.Str(required=True)
    event_id = fields.Str(required=True)
    model = fields.Str(required=True, metadata={"description": "The reference that judged."})
    image_name = fields.Str(required=True)
    captured_at = fields.Str(required=True)
