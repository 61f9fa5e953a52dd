"""What a user should know of a calibration, in sentences: for its file, the log and the dashboard."""

from __future__ import annotations

__all__ = ["NOTHING_VOTES", "out_of_reach", "provisional", "too_short"]

NOTHING_VOTES = "No statistic has a vote, so no picture is called drift."


def provisional(scored: int, missing: int) -> str:
    """Too few pictures, or too few events among them."""
    return (
        f"The thresholds are provisional: {scored} clean pictures could be scored, and about "
        f"{missing} more are needed to calibrate."
    )


def too_short(asked: float, scored: int, *, extended: bool) -> str:
    """The run time asked for is longer than the footage. `extended`: the thresholds were."""
    beyond = ", so the thresholds are extended beyond what was seen" if extended else ""
    return (
        f"The clean footage is too short for the one false alarm in {asked:g} pictures that was "
        f"asked for: {scored} could be scored{beyond}."
    )


def out_of_reach(statistic: str, drift: float, reach: float) -> str:
    """A statistic that can never exceed its drift threshold."""
    return (
        f"{statistic} has no vote: its drift threshold would be {drift:.4g}, and it is out of reach, "
        f"{reach:.4g} at most. A smaller expected run time, more clean pictures or another "
        "bandwidth would give it one."
    )
