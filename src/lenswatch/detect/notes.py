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
    "unreachable",
    "window_filling",
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


def provisional(clean: int, span: str = "", *, for_days: bool = False) -> str:
    """Return the note for too few pictures, or too few events among them.

    Args:
        clean: Clean pictures.
        span: Time that they cover in words, if it is known.
        for_days: It is a day or more.
    """
    over = f" over {span}" if span else ""
    if not for_days:
        missing = (
            "What is missing is time rather than number: pictures spread over all that the camera sees, "
            "such as a day and a night."
        )
    else:
        missing = (
            "Several hundred pictures that are spread over such a time would make them reliable."
        )
    return (
        f"The thresholds are provisional: they come from {clean} clean pictures{over}, and from other "
        f"cameras. {missing}"
    )


def too_short(asked: float, scored: int) -> str:
    """Return the note for a run time that is longer than the footage, but is usual."""
    return (
        f"The clean footage is too short for the one false alarm in {asked:g} pictures that was "
        f"asked for: {scored} could be scored, so the thresholds are extended beyond what was seen."
    )


def capped(asked: float, used: float, clean: int) -> str:
    """Return the note for a run time that is so much longer than the footage that it was cut."""
    return (
        f"One false alarm in {asked:.0f} pictures was asked for, but there are {clean} clean pictures, so "
        f"the thresholds aim at one in {used:.0f}. More clean footage would allow more."
    )


def out_of_reach(statistic: str, drift: float, reach: float) -> str:
    """Return the note for a statistic that can never exceed its drift threshold."""
    return (
        f"{statistic} is excluded from the verdict: its drift threshold would be {drift:.4g}, but it "
        f"cannot exceed {reach:.4g}. A smaller expected run time, more clean pictures or another "
        "bandwidth would include it."
    )


def unreachable(drift: float, reach: float) -> str:
    """Return the note for a fixed drift distance that no distance can exceed."""
    return (
        f"The distance cannot exceed {reach:.4g}, so no picture is called drift with a drift distance of "
        f"{drift:g}; set a smaller one."
    )


def window_filling(pictures: int, size: int, *, distance: bool) -> str:
    """Return the note for a window that is not full yet where the distance alone decides.

    Args:
        pictures: Pictures in the window.
        size: Pictures in a full one.
        distance: There is a distance, since the window began with clean embeddings.
    """
    if distance:
        rest = (
            "clean embeddings fill the rest, so that the distance, which alone decides, rises late"
        )
    else:
        rest = "until it is full there is no distance, and no picture is called drift"
    return f"The window holds {pictures} of {size} pictures; {rest}."
