"""The words of the pages: states, actions, numbers. One place, so that all pages say the same."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup, escape

__all__ = [
    "STATES",
    "STATE_WORDS",
    "TROUBLES",
    "WORDS",
    "counted",
    "decimals",
    "how_far",
    "interval_of",
    "is_below",
    "newest_below",
    "number",
    "sure",
    "times_over",
]

# The most urgent first, as lists are sorted.
STATES = (
    *("drift", "frozen", "failing", "silent", "warning"),
    *("unwatched", "waiting", "clean", "retired"),
)
TROUBLES = ("drift", "frozen", "failing", "silent")
STATE_WORDS = {
    "drift": "pictures no longer look like the clean ones",
    "frozen": "always the same picture arrives",
    "failing": "pictures cannot be judged",
    "silent": "nothing arrives",
    "warning": "near its threshold",
    "unwatched": "nothing can raise an alarm yet",
    "waiting": "no picture was judged yet",
    "clean": "pictures look like the clean ones",
    "retired": "not in use any more",
}
ACTION_TIPS = {
    "acknowledge": "Everybody sees that you are on it, and reminders stop. The state stays.",
    "mute": "No messages about this camera for this time. It stays on this page and is still judged.",
    "cleaned": "Notes the time of cleaning. The node compares with the first clean pictures again, and the "
    "next pictures say whether it helped.",
    "accept": "The lens is clean, and the scene was changed on purpose: the node learns the pictures of now. "
    "Not while the lens is dirty.",
    "false alarm": "The lens was fine. Counts in how often alarms are right; changes no threshold by itself.",
    "true drift": "The lens or the picture was really bad. Counts in how often alarms are right.",
    "retire": "This camera is not expected any more: it is never called silent, and leaves the lists.",
}
_LARGEST = 1e300
_JOINT = re.compile(r"(?<=\w)([._/])(?=\w)")
_SURE_TIMES, _VERY_SURE_TIMES, _IN_A_ROW = 2.0, 4.0, 5


def number(value: Any) -> str:
    """Return a number with at most three significant digits and five decimals: 0.31, −0.00042."""
    if not is_number(value):
        return "–"
    size = abs(value)
    if size and not 1e-5 <= size < 1e6:
        return f"{value:.1e}".replace("-", "−")
    decimals = min(5, max(0, 2 - math.floor(math.log10(size)))) if size else 0
    text = f"{value:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def decimals(values: Iterable[Any]) -> int:
    """Return how many decimals the numbers of one column have, so that they stand below each other."""
    texts = [number(value) for value in values if is_number(value)]
    return max((len(text.partition(".")[2]) for text in texts if "e" not in text), default=0)


def aligned(value: Any, places: int) -> str:
    """Return a number with so many decimals."""
    return f"{value:.{places}f}".replace("-", "−") if is_number(value) else "–"


def is_number(value: Any) -> bool:
    """Return whether `value` is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < _LARGEST  # a whole number may be too large for the arithmetic of all others


def counted(count: int, noun: str, many: str = "") -> str:
    """Return "1 picture" or "1,204 pictures"."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def times_over(ratio: Any) -> str:
    """Return how a value compares with its drift threshold, in words."""
    if not is_number(ratio):
        return ""
    if ratio < 1:
        return f"{max(0, round(100 * ratio))} % of the way to drift"
    return f"{ratio:.1f} times the drift threshold"


def interval_of(record: Mapping[str, Any]) -> float | None:
    """Return the usual seconds between two pictures of a stream, as people or the server say.

    None where that is not known, and below a second, as of an archive that came at once.
    """
    found = record["interval_set_seconds"] or record["interval_seconds"]
    return float(found) if found and found >= 1 else None


def is_below(ratio: Any) -> bool:
    """Return whether a value is known to lie below its drift threshold."""
    return is_number(ratio) and ratio < 1


def how_far(record: Mapping[str, Any]) -> str:
    """Return how the newest value of a stream compares with its drift threshold, in words.

    An alarm outlasts the drift, so a stream in alarm may have a newest value below its threshold.
    """
    ratio = record["ratio"]
    if record["pictures_state"] == "drift" and is_below(ratio):
        return f"in alarm; {newest_below(ratio)}"
    return times_over(ratio)


def newest_below(ratio: float) -> str:
    """Return in words how near the newest picture is to the threshold that it lies below."""
    return f"the newest picture is at {max(0, min(99, round(100 * ratio)))} % of the threshold"


def sure(ratio: Any, in_a_row: int) -> str:
    """Return how sure drift is: "likely", "sure" or "very sure"."""
    if is_number(ratio) and ratio > _VERY_SURE_TIMES and in_a_row >= _IN_A_ROW:
        return "very sure"
    if (is_number(ratio) and ratio >= _SURE_TIMES) or in_a_row >= _IN_A_ROW:
        return "sure"
    return "likely"


def in_a_row(recent: Iterable[str], letter: str = "d") -> int:
    """Return how many of the newest verdicts, the last ones of `recent`, are `letter`."""
    letters = list(recent)
    return next((n for n, found in enumerate(reversed(letters)) if found != letter), len(letters))


def name_of(record: Mapping[str, Any]) -> str:
    """Return the name under which a stream is shown."""
    return str(record.get("name") or record.get("title") or record.get("stream") or "(no name)")


def breakable(name: str) -> Markup:
    """Return a name that a narrow page may break after its points, underscores and slashes."""
    return Markup(_JOINT.sub(r"\1<wbr>", str(escape(name))))


def listed(words: Iterable[str]) -> str:
    """Return "a, b and c"."""
    *first, last = list(words) or [""]
    return f"{', '.join(first)} and {last}" if first else last


def size(count: int) -> str:
    """Return a number of bytes in words: "1.2 MB"."""
    value, units = float(count), ("bytes", "KB", "MB", "GB", "TB")
    for unit in units:
        if value < 1000 or unit == units[-1]:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


WORDS = {
    "size": size,
    "aligned": aligned,
    "breakable": breakable,
    "STATES": STATES,
    "STATE_WORDS": STATE_WORDS,
    "TROUBLES": TROUBLES,
    "TIPS": ACTION_TIPS,
    "counted": counted,
    "how_far": how_far,
    "interval_of": interval_of,
    "in_a_row": in_a_row,
    "listed": listed,
    "name_of": name_of,
    "number": number,
    "sure": sure,
    "times_over": times_over,
}
