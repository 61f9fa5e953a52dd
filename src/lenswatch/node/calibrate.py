"""Calibration of a stream: from clean pictures to `storage/calibration/<digest>/<stream>.json`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lenswatch.config import Config
from lenswatch.detect.arrays import Floats, Pixels
from lenswatch.detect.chart.features import Measured, measure_all
from lenswatch.detect.chart.fitting import ChartFit, fit_chart
from lenswatch.detect.mmd import FittedMMD
from lenswatch.detect.thresholds import Threshold, calibrate_mmd, calibrate_scores, mmd_runs
from lenswatch.detect.verdict import Rule, run_time_factor
from lenswatch.errors import InputError
from lenswatch.node.calibration_file import DEFAULT_STREAM, Calibration, save_calibration
from lenswatch.reference.artefact import Reference, load_lens
from lenswatch.reference.autoencoder import encode
from lenswatch.reference.paths import calibration_folder
from lenswatch.reference.pictures import encoder_input, read_picture_file
from lenswatch.wire import check_stream

__all__ = ["calibrate_stream", "clean_runs", "embed_picture", "embed_pictures", "fit_calibration"]


@dataclass(frozen=True)
class _Clean:
    """Clean footage of a stream, in time order.

    Attributes:
        embeddings: (n, d).
        lens: Measurements for the lens chart; None when the pictures are not available.
        is_reference: The embeddings are those of the reference itself.
    """

    embeddings: Floats
    lens: Measured | None
    is_reference: bool


def calibrate_stream(
    config: Config,
    reference: Reference,
    stream: str = DEFAULT_STREAM,
    pictures: Sequence[Path] = (),
) -> Calibration:
    """Save the thresholds of a stream, as `fit_calibration` finds them, and return them.

    Raises:
        InputError: There are too few pictures, or the stream's name is invalid.
        WriteError: The calibration cannot be written.
    """
    check_stream(stream)
    calibration = fit_calibration(config, reference, stream, pictures)
    save_calibration(calibration_folder(config.storage_path), stream, calibration)
    return calibration


def fit_calibration(
    config: Config,
    reference: Reference,
    stream: str = DEFAULT_STREAM,
    pictures: Sequence[Path] = (),
) -> Calibration:
    """Find the thresholds of a stream for `alarm.expected_run_time`.

    Without `pictures` the clean pictures of the reference itself are used: each half is compared with the
    other. A stream's own clean pictures are compared with the whole reference, and the lens chart is
    fitted to them, half against half. Pictures that are part of the reference count as the reference.

    Args:
        config: The settings.
        reference: The reference to compare with.
        stream: Name of the stream.
        pictures: The stream's own clean pictures, in time order.

    Raises:
        InputError: There are too few pictures.
    """
    clean = _clean_footage(config, reference, pictures)
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
        details={
            "stream": stream,
            "clean_pictures": len(clean.embeddings),
            "own_pictures": not clean.is_reference,
        },
    )


def _enough_for_distance(config: Config, clean: _Clean) -> bool:
    """Return whether there is a window in each half of the clean footage, and one between them."""
    return len(clean.embeddings) >= 3 * config.detector.window_size + 4


def clean_runs(
    config: Config, reference: Reference, pictures: Sequence[Path] = ()
) -> dict[str, tuple[Floats, ...]]:
    """Return the out-of-sample scores that the thresholds come from, by statistic, to draw them."""
    clean = _clean_footage(config, reference, pictures)
    chart = _chart(config, clean)
    runs = {}
    if chart is None or _enough_for_distance(config, clean):
        runs["mmd"] = _mmd_runs(config, reference, clean)
    return runs if chart is None else runs | {"chart": chart.runs}


def _clean_footage(config: Config, reference: Reference, pictures: Sequence[Path]) -> _Clean:
    known = set(reference.names)
    own = [path for path in pictures if path.name not in known]
    if not own:
        lens = load_lens(config.storage_path, reference.digest)
        return _Clean(reference.embeddings.astype(np.float64), lens, is_reference=True)
    pixels = _read(config, reference, own)
    rows = [embed_picture(reference, one) for one in pixels]
    return _Clean(np.array(rows, np.float64), measure_all(pixels), is_reference=False)


def embed_pictures(config: Config, reference: Reference, pictures: Sequence[Path]) -> Floats:
    """Return the embeddings (n, d) of picture files by a reference's encoder."""
    rows = [embed_picture(reference, one) for one in _read(config, reference, pictures)]
    return np.array(rows, np.float64)


def _read(config: Config, reference: Reference, pictures: Sequence[Path]) -> list[Pixels]:
    size = reference.transform.resize
    return [read_picture_file(path, size, config.upload).pixels(size) for path in pictures]


def embed_picture(reference: Reference, pixels: Pixels) -> npt.NDArray[np.float32]:
    """Return the embedding (d,) of one picture that has the size of the reference's transform."""
    planes = encoder_input(pixels, reference.transform)
    row: npt.NDArray[np.float32] = encode(reference.autoencoder.encoder, planes[None])[0]
    return row


def _chart(config: Config, clean: _Clean) -> ChartFit | None:
    """Return the lens chart, or None when the pictures are missing or too few."""
    if clean.lens is None or config.alarm.verdict == "mmd":
        return None
    try:
        factor = run_time_factor(config.alarm.verdict, "chart")
        return fit_chart(clean.lens, ert=config.alarm.expected_run_time, factor=factor)
    except InputError:
        return None


def _mmd(config: Config, reference: Reference, clean: _Clean, factor: float) -> Threshold:
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
    if not clean.is_reference:
        return calibrate_scores([fitted.distances(clean.embeddings)], tail="additive", **asked)
    return calibrate_mmd(
        clean.embeddings,
        window_size=config.detector.window_size,
        scores=_half_against_half(config, reference),
        **asked,
    )


def _mmd_runs(config: Config, reference: Reference, clean: _Clean) -> tuple[Floats, ...]:
    size = config.detector.window_size
    if not clean.is_reference:
        return (reference.detector(size).distances(clean.embeddings),)
    return mmd_runs(clean.embeddings, size, _half_against_half(config, reference))


def _half_against_half(config: Config, reference: Reference) -> Any:
    size = config.detector.window_size
    return lambda fit, run: FittedMMD.fit(fit, size, reference.sigma).distances(run)
