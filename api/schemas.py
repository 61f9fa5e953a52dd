"""The arguments and the answer of the DEEPaaS hooks, as marshmallow fields.

The descriptions appear in the Swagger UI and in deepaas_ui, AI4OS' own web page. That page shows an upload
whose description holds the word "image" as a picture, and would decode an answer's text as a picture if its
description held that word.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from lenswatch.config import load_config
from lenswatch.errors import InputError
from lenswatch.wire import EVENT_ID, EVENT_ID_RULE, STREAM, STREAM_RULE

__all__ = [
    "ModelPredictionResponse",
    "check_names",
    "checked",
    "predict_fields",
    "train_fields",
]

VALUE = "{input!r:.100}"  # in an error message
NUMBER = "give a finite number, such as 0.25"
_BASIC_ISO = re.compile(r"\d{8}T\d{4}(\d\d([.,]\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?", re.ASCII)
IGNORED = frozenset({"accept"})  # deepaas_ui adds it to every request


def _pattern(pattern: re.Pattern[str], rule: str) -> validate.Regexp:
    """Return a validator whose pattern JavaScript understands: the Swagger UI checks it before sending."""
    return validate.Regexp(
        f"^{pattern.pattern.removesuffix(chr(92) + 'Z')}$", error=f"{VALUE}: {rule}."
    )


def _not(form: str) -> dict[str, str]:
    """Return the messages for a value that cannot be read: the value, and the form that can."""
    return dict.fromkeys(("invalid", "too_large"), f"{VALUE}: {form}.")


def _is_finite(value: float) -> None:
    """Raise ValidationError for nan and infinity; marshmallow's own message has no value."""
    if not math.isfinite(value):
        raise ValidationError(f"{value}: {NUMBER}.")


def _is_upload(value: Any) -> None:
    if not hasattr(value, "filename"):
        raise ValidationError("Send the picture as a file (multipart/form-data).")


def check_names(names: Iterable[str], known: Iterable[str]) -> None:
    """Raise InputError when a field is unknown or given twice, which DEEPaaS would ignore.

    Args:
        names: The names of all fields of a request.
        known: The names of the fields that may be sent.
    """
    allowed, seen = list(known), set()
    for name in names:
        if name in IGNORED:
            continue
        if name not in allowed:
            close = difflib.get_close_matches(name[:100].lower(), allowed, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(allowed)}"
            raise InputError(f"unknown field {name[:100]!r}; {hint}")
        if name in seen:
            raise InputError(f"the field {name!r} is given more than once; send it once")
        seen.add(name)


def checked(known: Mapping[str, fields.Field], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call as their fields read them, however they came.

    DEEPaaS checks the arguments of requests. Those of `deepaas-cli` arrive as they were typed.

    Args:
        known: The fields by name.
        given: The arguments by name.

    Raises:
        InputError: An argument cannot be used.
    """
    found = dict(given)
    for name, value in given.items():
        field = known.get(name)
        if field is None or value is None or isinstance(value, datetime):
            continue
        try:
            found[name] = field.deserialize(value)
        except ValidationError as error:
            raise InputError(f"{name}: {' '.join(map(str, error.messages))}") from None
    return found


class _Moment(fields.AwareDateTime):
    """A time in ISO 8601, in the extended or the basic form (20230728T083036Z)."""

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **options: Any
    ) -> Any:
        if isinstance(value, str) and _BASIC_ISO.fullmatch(value):
            with contextlib.suppress(ValueError):  # marshmallow's message says what can be read
                value = datetime.fromisoformat(value).isoformat()
        return super()._deserialize(value, attr, data, **options)


def _about(*sentences: str) -> dict[str, str]:
    return {"description": " ".join(sentences)}


def predict_fields() -> dict[str, fields.Field]:
    """Return the arguments of `predict`."""
    upload = _about("The image to judge: one picture of the camera, as a file.")
    return {
        "input_file": fields.Field(  # exactly this class: deepaas-cli looks for it
            required=True,
            validate=_is_upload,
            metadata={"type": "file", "location": "form", **upload},
        ),
        "stream": fields.Str(
            load_default="default",
            validate=_pattern(STREAM, STREAM_RULE),
            metadata=_about("Name of the camera.", "Each has its own window and thresholds."),
        ),
        "drift_distance": fields.Float(
            load_default=None,
            allow_nan=True,
            validate=_is_finite,
            error_messages=_not(NUMBER),
            metadata=_about(
                "Report drift when the distance is above this value, instead of using the calibrated",
                "thresholds. Applies to this call only.",
            ),
        ),
        "warning_distance": fields.Float(
            load_default=None,
            allow_nan=True,
            validate=_is_finite,
            error_messages=_not(NUMBER),
            metadata=_about(
                "Report a warning when the distance is above this value. Applies to this call only."
            ),
        ),
        "event_id": fields.Str(
            load_default=None,
            validate=_pattern(EVENT_ID, EVENT_ID_RULE),
            metadata=_about(
                "Identifies this call. A retry with the same id gets the first answer, and the picture",
                "is not counted again.",
            ),
        ),
        "captured_at": _Moment(
            format="iso",
            default_timezone=UTC,
            load_default=None,
            error_messages=_not(
                "give a date and time in ISO 8601, such as 2026-06-01T10:00:00Z, or leave it out"
            ),
            metadata=_about(
                "Time at which the picture was taken (ISO 8601; UTC if no offset is given).",
                "Default: the time in the file, else the one in its name, else the time of arrival.",
            ),
        ),
    }


def train_fields() -> dict[str, fields.Field]:
    """Return the arguments of `train`, with the defaults of the settings."""
    encoder = load_config().encoder
    return {
        "epochs": fields.Int(
            load_default=encoder.epochs,
            validate=validate.Range(
                min=1, max=10_000, error=f"{VALUE}: give a whole number from 1 to 10000."
            ),
            error_messages=_not("give a whole number from 1 to 10000"),
            metadata=_about("Maximum number of passes over the clean pictures."),
        ),
        "learning_rate": fields.Float(
            load_default=encoder.learning_rate,
            allow_nan=True,
            validate=[
                _is_finite,
                validate.Range(
                    min=0,
                    min_inclusive=False,
                    error=f"{VALUE}: give a number above 0, such as 0.001.",
                ),
            ],
            error_messages=_not("give a number above 0, such as 0.001"),
            metadata=_about("Step size of the Adam optimiser."),
        ),
        "seed": fields.Int(
            load_default=encoder.seed,
            validate=validate.Range(min=0, error=f"{VALUE}: give a whole number, 0 or more."),
            error_messages=_not("give a whole number, 0 or more"),
            metadata=_about("Random seed. The same seed and pictures give the same reference."),
        ),
    }


def _number(description: str) -> fields.Float:
    return fields.Float(required=True, allow_none=True, metadata=_about(description))


def _text(description: str, **options: Any) -> fields.Str:
    return fields.Str(required=True, metadata=_about(description), **options)


def _flag(description: str) -> fields.Bool:
    return fields.Bool(required=True, metadata=_about(description))


class WindowSchema(Schema):
    """Fill level of the sliding window."""

    filled = fields.Int(
        required=True, metadata=_about("Pictures in the window, without those of a warm start.")
    )
    size = fields.Int(required=True, metadata=_about("Pictures in a full window."))


class CauseSchema(Schema):
    """A likely cause of a change."""

    name = _text('Name, such as "blurred" or "darker".')
    strength = fields.Float(
        required=True, metadata=_about("Strength in multiples of the drift threshold.")
    )
    cells = fields.List(
        fields.List(fields.Int()),
        metadata=_about(
            "Row and column of the cells that show it, in a grid of 4 rows and 5 columns."
        ),
    )


class NearestCleanSchema(Schema):
    """A clean picture, as the tracking server names it."""

    reference = _text("Digest of the reference.")
    name = _text("Name among the pictures of that reference.")


class CalibrationSchema(Schema):
    """Footage that the thresholds were learnt from."""

    pictures = fields.Int(
        required=True, metadata=_about("Clean pictures that they were found with.")
    )
    expected_run_time = fields.Float(
        required=True,
        metadata=_about("Mean number of clean pictures between two false alarms that they aim at."),
    )
    span_seconds = fields.Float(
        metadata=_about("Time that these pictures cover; absent when their times are not known.")
    )


class CollectingSchema(Schema):
    """State of a collection of clean pictures."""

    kept = fields.Int(required=True, metadata=_about("Pictures kept so far."))
    wanted = fields.Int(required=True, metadata=_about("Most pictures that are kept."))
    least = fields.Int(required=True, metadata=_about("Fewest pictures that are needed."))
    left_out = fields.Int(
        required=True, metadata=_about("Pictures left out, because they were in drift or alarm.")
    )
    until = _text(
        "Time at which it ends if pictures keep arriving (UTC, ISO 8601); null once that time is over.",
        allow_none=True,
    )


ShadowSchema = Schema.from_dict(
    {
        "model": _text("Version of the reference in shadow."),
        **{name: _flag(f"As `{name}` of the answer.") for name in ("drift", "warning", "alarm")},
        **{
            name: _number(f"As `{name}` of the answer.")
            for kind in ("distance", "score")
            for name in (kind, f"drift_{kind}", f"warning_{kind}")
        },
    },
    name="ShadowSchema",
)


class ModelPredictionResponse(Schema):
    """The answer of `predict`. deepaas_ui looks for a definition of this name."""

    drift = _flag("The pictures have drifted: they no longer look like the clean ones.")
    warning = _flag("The pictures may be about to drift.")
    distance = _number(
        "Unbiased squared Maximum Mean Discrepancy (MMD²) between the window and the clean pictures. "
        "About 0 when nothing is wrong; null until the window is full."
    )
    drift_distance = _number("Drift is reported when the distance is above this threshold.")
    warning_distance = _number("A warning is reported when the distance is above this threshold.")
    alarm = _flag("Raised by drift; falls after a full window without warnings.")
    score = _number("Score of the lens chart; null without a lens chart.")
    drift_score = _number("Drift is reported when the score is above this threshold.")
    warning_score = _number("A warning is reported when the score is above this threshold.")
    causes = fields.List(
        fields.Nested(CauseSchema),
        required=True,
        metadata=_about("Likely causes, the strongest first."),
    )
    deviations = fields.List(
        fields.List(fields.Float()),
        metadata=_about(
            "Deviation from clean footage in each cell of a grid of 4 rows and 5 columns."
        ),
    )
    nearest = _text(
        "Path of the most similar clean picture, below the folder of clean and dirty pictures.",
        allow_none=True,
    )
    nearest_clean = fields.Nested(
        NearestCleanSchema,
        metadata=_about(
            "The most similar clean picture of those that the tracking server is sent; absent when there",
            "are none.",
        ),
    )
    can_alarm = _flag(
        "False: no picture of the stream can be called drift at present; calibration_notes say why."
    )
    calibrated = _flag(
        "False: the thresholds are provisional, because there is too little footage."
    )
    calibration = fields.Nested(
        CalibrationSchema,
        metadata=_about(
            "What the thresholds were learnt from; absent when the caller or the settings give a fixed",
            "distance, or when there are none.",
        ),
    )
    calibration_notes = fields.List(
        fields.Str(), metadata=_about("Limits of the thresholds; absent when there are none.")
    )
    reference_note = fields.Str(
        metadata=_about("What to know of the reference; absent when it is your own.")
    )
    picture_notes = fields.List(
        fields.Str(),
        metadata=_about(
            "What was assumed in reading the file; absent when there is nothing to say."
        ),
    )
    collecting = fields.Nested(
        CollectingSchema,
        metadata=_about("State of the collection of clean pictures; absent when there is none."),
    )
    recorded = _flag(
        "Window, answer and drift job were written. False: the disk is full, or the outbox is full of jobs "
        "that are never given up; the verdict counts nevertheless."
    )
    not_recorded_because = fields.Str(
        metadata=_about("What stood against recording; absent when it was recorded.")
    )
    shadow = fields.Nested(
        ShadowSchema,
        metadata=_about("Verdict of a reference in shadow; absent when there is none."),
    )
    window = fields.Nested(
        WindowSchema, required=True, metadata=_about("Fill level of the sliding window.")
    )
    stream = _text("Name of the camera.")
    event_id = _text("Identifies this call.")
    model = _text("Version of the reference with which the picture was compared.")
    image_name = _text("File name of the picture.")
    image_path = fields.Str(
        allow_none=True,
        metadata=_about(
            "Path of the kept picture below the storage folder, if pictures like this one are kept; null if",
            "this one could not be kept.",
        ),
    )
    captured_at = _text("Time at which the picture was taken, else arrived (UTC, ISO 8601).")
    camera_time = fields.Str(
        metadata=_about(
            "Time of a camera's clock that cannot be right (UTC, ISO 8601); absent otherwise."
        )
    )
    late = _flag(
        "The picture is older than the newest one of its stream. It is judged by itself, and does not change "
        "window and alarm."
    )
