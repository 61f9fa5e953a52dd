"""Calibration of a stream: from clean pictures to `storage/calibration/<digest>/<stream>.json`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lenswatch.config import Config
from lenswatch.detect.arrays import Floats
from lenswatch.detect.chart.fitting import ChartFit, fit_chart
from lenswatch.detect.chart.witness import Witness
from lenswatch.detect.thresholds import Threshold, calibrate_scores
from lenswatch.detect.verdict import Rule, run_time_factor
from lenswatch.errors import InputError
from lenswatch.node.calibration_file import DEFAULT_STREAM, Calibration, save_calibration
from lenswatch.node.clean_footage import CleanFootage, clean_footage, distance_runs
from lenswatch.node.clean_seeds import days_of, save_seeds
from lenswatch.progress import Progress, no_progress
from lenswatch.reference.amount import check_amount, fewest_for_distance, fewest_pictures
from lenswatch.reference.artefact import Reference
from lenswatch.reference.paths import calibration_folder
from lenswatch.wire import check_stream

if TYPE_CHECKING:
    from lenswatch.cluster.connection import Cluster

__all__ = ["calibrate_stream", "clean_runs", "fit_calibration"]


def calibrate_stream(
    config: Config,
    reference: Reference,
    stream: str = DEFAULT_STREAM,
    pictures: Sequence[Path] | None = None,
    progress: Progress = no_progress,
    cluster: Cluster | None = None,
) -> Calibration:
    """Save the thresholds of a stream, as `fit_calibration` finds them, and return them.

    With a `cluster`, its workers look at the pictures.

    Raises:
        InputError: There are too few pictures, or the stream's name is invalid.
        WriteError: The calibration cannot be written.
    """
    check_stream(stream)
    clean = clean_footage(config, reference, pictures, progress, cluster)
    calibration = _fitted(config, reference, stream, clean)
    folder = calibration_folder(config.storage_path)
    if clean.remembered is not None and clean.lens is not None:
        save_seeds(folder, reference.digest, stream, clean.lens)
    save_calibration(folder, stream, calibration)
    return calibration


def fit_calibration(
    config: Config,
    reference: Reference,
    stream: str = DEFAULT_STREAM,
    pictures: Sequence[Path] | None = None,
    progress: Progress = no_progress,
) -> Calibration:
    """Find the thresholds of a stream for `alarm.expected_run_time`.

    Without `pictures` the clean pictures of the reference itself are used: each half is compared with the
    other. A stream's own clean pictures are compared with the reference, without those of them that it was
    trained on, and the lens chart is fitted to them, half against half.

    Args:
        config: The settings.
        reference: The reference to compare with.
        stream: Name of the stream.
        pictures: The stream's own clean pictures, in time order, which are remembered in the calibration;
            None for the reference's.
        progress: Called after each picture that was read.

    Raises:
        InputError: There are too few pictures.
    """
    return _fitted(config, reference, stream, clean_footage(config, reference, pictures, progress))


def _fitted(config: Config, reference: Reference, stream: str, clean: CleanFootage) -> Calibration:
    check_amount(len(clean.embeddings), fewest_pictures(config))
    chart = _chart(config, clean)
    rule: Rule = config.alarm.verdict if chart is not None else "mmd"
    thresholds = {}
    if chart is None or _enough_for_distance(config, clean):
        thresholds["mmd"] = _mmd(config, reference, clean, run_time_factor(rule, "mmd"))
    if chart is not None:
        thresholds |= {"chart": chart.threshold, "slow": chart.slow}
    return Calibration(
        digest=reference.digest,
        thresholds=thresholds,
        chart=None if chart is None else chart.chart.to_json(),
        created_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        details=_details(stream, clean) | _witness(clean, chart),
    )


def _enough_for_distance(config: Config, clean: CleanFootage) -> bool:
    """Return whether there is a window in each half of the clean footage, and one between them."""
    return len(clean.embeddings) >= fewest_for_distance(config)


def _details(stream: str, clean: CleanFootage) -> dict[str, Any]:
    details = {
        "stream": stream,
        "clean_pictures": len(clean.embeddings),
        "own_pictures": clean.remembered is not None,
        "reference_pictures": len(clean.known),
        "span_seconds": None if clean.span is None else clean.span.total_seconds(),
    }
    remembered = clean.remembered
    return details if remembered is None else details | {"footage": remembered.to_json()}


def _witness(clean: CleanFootage, chart: ChartFit | None) -> dict[str, Any]:
    """Return what the renewal of the baseline needs later."""
    if chart is None or clean.lens is None:
        return {}
    days = days_of(clean.times, len(clean.lens))
    return {"witness": Witness.fit(chart.chart.scales, clean.lens, days).to_json()}


def clean_runs(
    config: Config, reference: Reference, pictures: Sequence[Path] | None = None
) -> dict[str, tuple[Floats, ...]]:
    """Return the out-of-sample scores that the thresholds come from, by statistic, to draw them."""
    clean = clean_footage(config, reference, pictures)
    chart = _chart(config, clean)
    runs = {}
    if chart is None or _enough_for_distance(config, clean):
        runs["mmd"] = distance_runs(reference, clean, config.detector.window_size)
    return runs if chart is None else runs | {"chart": chart.runs}


def _chart(config: Config, clean: CleanFootage) -> ChartFit | None:
    """Return the lens chart, or None when the pictures are missing or too few."""
    if clean.lens is None or config.alarm.verdict == "mmd":
        return None
    try:
        factor = run_time_factor(config.alarm.verdict, "chart")
        ert = config.alarm.expected_run_time
        return fit_chart(clean.lens, ert=ert, factor=factor, spacing=clean.spacing)
    except InputError:
        return None


def _mmd(config: Config, reference: Reference, clean: CleanFootage, factor: float) -> Threshold:
    """Return the thresholds of the distance.

    None is below the distance of a window that is filled with one clean picture. Otherwise footage in which
    all pictures are alike would give thresholds near 0, and a cloud would raise an alarm.
    """
    fitted = reference.detector(config.detector.window_size)
    asked: dict[str, Any] = {
        "ert": config.alarm.expected_run_time,
        "ert_factor": factor,
        "reach": fitted.largest_distance,
        "least": fitted.one_picture_distance,
    }
    runs = distance_runs(reference, clean, config.detector.window_size)
    if not any(np.isfinite(run).any() for run in runs):
        check_amount(len(clean.embeddings), fewest_for_distance(config))
    return calibrate_scores(runs, tail="additive", **asked)
