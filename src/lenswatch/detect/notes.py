"""Notes on a calibration for users: sentences for its file, the log and the dashboard."""

from __future__ import annotations

__all__ = [
    "ALL_EXCLUDED",
    "NO_THRESHOLDS",
    "capped",
    "not_calibrated",
    "out_of_reach",
    "provisional",
    "too_short",
]

ALL_EXCLUDED = "Every statistic is excluded from the verdict, so no picture is called drift."
NO_THRESHOLDS = (
    "There are no thresholds for what decides here, so no picture is called drift. More clean pictures "
    "would give them."
)


def not_calibrated(stream: str, reason: str) -> str:
    """Return the note for a stream without thresholds, with a clause that says why it has none."""
    return (
        f"Not calibrated under this reference, since {reason}, so no picture is called drift. "
        f"Run `lenswatch calibrate --stream {stream} FOLDER` with clean pictures of this camera."
    )


def provisional(clean: int, span: str = "") -> str:
    """Return the note for too few pictures, or too few events among them.

    Args:
        clean: Clean pictures that could be scored.
        span: Time that they cover, if it is known.
    """
    over = f" over {span}" if span else ""
    return (
        f"The thresholds are provisional: they come from {clean} clean pictures{over}, and from other "
        "cameras. What is missing is time rather than number: pictures spread over all that the camera sees, "
        "such as a day and a night."
    )


def too_short(asked: float, scored: int) -> str:
    """Return the note for a run time that is longer than the footage, but is usual."""
    return (
        f"The clean footage is too short for the one false alarm in {asked:g} pictures that was "
        f"asked for: {scored} could be scored, so the thresholds are extended beyond what was seen."
    )


def capped(asked: float, used: float, scored: int) -> str:
    """Return the note for a run time that is so much longer than the footage that it was cut."""
    return (
        f"One false alarm in {asked:g} pictures was asked for, but {scored} clean pictures could be scored, "
        f"so the thresholds aim at one in {used:g}. More clean footage would allow more."
    )


def out_of_reach(statistic: str, drift: float, reach: float) -> str:
    """Return the note for a statistic that can never exceed its drift threshold."""
    return (
        f"{statistic} is excluded from the verdict: its drift threshold would be {drift:.4g}, but it "
        f"cannot exceed {reach:.4g}. A smaller expected run time, more clean pictures or another "
        "bandwidth would include it."
    )
