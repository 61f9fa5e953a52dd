"""Beginning of a collection of clean pictures, and notes on it. Importable without torch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from lenswatch.config import Config
from lenswatch.durations import in_words, parse_duration
from lenswatch.node.collecting.collection import MOST, Collection
from lenswatch.node.request import iso_utc
from lenswatch.reference.amount import fewest_pictures

__all__ = ["NO_VERDICT", "begin", "configured", "note_of", "report"]


# The part of an answer that gives no verdict.
NO_VERDICT: dict[str, Any] = {
    **dict.fromkeys(("drift", "warning", "alarm", "calibrated", "can_alarm"), False),
    **dict.fromkeys(("distance", "drift_distance", "warning_distance")),
    **dict.fromkeys(("score", "drift_score", "warning_score", "nearest")),
    "causes": [],
}


def begin(config: Config, seconds: float, *, judged: bool, wanted: int = MOST) -> Collection:
    """Return a new collection that keeps as many pictures as training needs, or more."""
    least = fewest_pictures(config)
    return Collection.begin(seconds, wanted, least, judged=judged)


def configured(config: Config) -> Collection | None:
    """Return a new collection as `camera.collect` asks for it, or None when it is empty."""
    wanted = config.camera.collect
    return begin(config, parse_duration(wanted), judged=False) if wanted else None


def report(collection: Collection, kept: int, now: datetime) -> dict[str, Any]:
    """Return the fields of an answer that tell of the collection."""
    over = collection.left == 0
    until = now.astimezone(UTC) + timedelta(seconds=collection.left)
    collecting = {
        "kept": kept,
        "wanted": collection.wanted,
        "least": collection.least,
        "left_out": collection.left_out,
        "until": None if over else iso_utc(until),
    }
    return {"collecting": collecting, "calibration_notes": [note_of(collection, kept, now)]}


def note_of(collection: Collection, kept: int, now: datetime) -> str:
    """Return a sentence on the collection for users."""
    blind = "" if collection.judged else " Nothing can alarm until then."
    reasons = [text.splitlines()[0] for text in (collection.note, collection.trouble) if text]
    because = f" ({'; '.join(reasons)})" if reasons else ""
    if collection.finishing:
        what = "Training" if not collection.judged else "Calibrating"
        return f"{what} with {kept} collected clean pictures.{blind}"
    left = collection.left_at(now.timestamp())
    if left == 0 and kept < collection.least:
        return (
            f"Collecting clean pictures until there are {collection.least}: "
            f"{kept} kept{_left_out(collection)}{because}.{blind}"
        )
    return (
        f"Collecting clean pictures: {kept} of at most {collection.wanted} kept"
        f"{_left_out(collection)}, {_ends(left, now)}{because}.{blind}"
    )


def _ends(left: float, now: datetime) -> str:
    """Return a clause on what is missing until the end, with a time that is never in the past."""
    if left == 0:
        return "its time is over, and the next picture ends it"
    until = now.astimezone(UTC) + timedelta(seconds=left + 60, microseconds=-1)
    missing = in_words(max(left, 1.0))
    return f"still missing: {missing} with pictures, until {until:%Y-%m-%d %H:%M} UTC if they keep coming"


def _left_out(collection: Collection) -> str:
    """Return a clause on the pictures that were left out, by reason; empty if there are none."""
    drift = collection.left_out - collection.in_alarm
    counts = {"drift": drift, "an alarm": collection.in_alarm}
    return "".join(f", {n} left out because of {why}" for why, n in counts.items() if n)
