"""Notes on a calibration for users: sentences for its file, the log and the dashboard."""

from __future__ import annotations

__all__ = ["ALL_EXCLUDED", "NO_THRESHOLDS", "out_of_reach", "provisional", "too_short"]

ALL_EXCLUDED = "Every statistic is excluded from the verdict, so no picture is called drift."
NO_THRESHOLDS = (
    "There are no thresholds for what decides here, so no picture is called drift. More clean pictures "
    "would give them."
)


def provisional(scored: int, missing: int) -> str:
    """Return the note for too few pictures, or too few events among them."""
    return (
        f"The thresholds are provisional: {scored} clean pictures could be scored, and about "
        f"{missing} more are needed to calibrate."
    )


def too_short(asked: float, scored: int, *, extended: bool) -> str:
    """Return the note for a run time that is longer than the footage.

    `extended` tells whether the thresholds were extended to it.
    """
    beyond = ", so the thresholds are extended beyond what was seen" if extended else ""
    return (
        f"The clean footage is too short for the one false alarm in {asked:g} pictures that was "
        f"asked for: {scored} could be scored{beyond}."
    )


def out_of_reach(statistic: str, drift: float, reach: float) -> str:
    """Return the note for a statistic that can never exceed its drift threshold."""
    return (
        f"{statistic} is excluded from the verdict: its drift threshold would be {drift:.4g}, but it "
        f"cannot exceed {reach:.4g}. A smaller expected run time, more clean pictures or another "
        "bandwidth would include it."
    )
