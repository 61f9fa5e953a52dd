"""Calibrating a stream: from clean pictures to `storage/calibration/<digest>/<stream>.json`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lenswatch.autoencoder import encode
from lenswatch.calibration import Threshold, calibrate_mmd, calibrate_scores
from lenswatch.calibration_file import DEFAULT_STREAM, Calibration, save_calibration
from lenswatch.config import Config
from lenswatch.detector import FittedMMD
from lenswatch.images import encoder_input, read_picture_file
from lenswatch.layout import calibration_folder
from lenswatch.reference import Reference

__all__ = ["calibrate_stream"]

Array = npt.NDArray[np.float64]


def calibrate_stream(
    config: Config,
    reference: Reference,
    stream: str = DEFAULT_STREAM,
    pictures: Sequence[Path] = (),
) -> Calibration:
    """Find the thresholds of a stream for `alarm.expected_run_time` and keep them.

    Without `pictures` the clean pictures of the reference itself are used, each half judged against
    the other. A stream's own clean `pictures`, in time order, are judged against the whole reference,
    unless they are part of it.

    Raises:
        InputError: too few pictures, or a stream that is no slug.
    """
    size = config.detector.window_size
    own = [path for path in pictures if path.name not in set(reference.names)]
    if own:
        threshold = _against_reference(config, reference, own)
        count = len(own)
    else:
        threshold = calibrate_mmd(
            reference.embeddings,
            window_size=size,
            ert=config.alarm.expected_run_time,
            scores=lambda fit, run: FittedMMD.fit(fit, size, reference.sigma).distances(run),
            reach=reference.detector(size).largest_distance,
        )
        count = len(reference.embeddings)
    calibration = Calibration(
        digest=reference.digest,
        thresholds={"mmd": threshold},
        created_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        details={"stream": stream, "clean_pictures": count, "own_pictures": bool(own)},
    )
    save_calibration(calibration_folder(config.storage_path), stream, calibration)
    return calibration


def _against_reference(config: Config, reference: Reference, pictures: Sequence[Path]) -> Threshold:
    fitted = reference.detector(config.detector.window_size)
    rows = [_embedding(config, reference, path) for path in pictures]
    return calibrate_scores(
        [fitted.distances(rows)],
        ert=config.alarm.expected_run_time,
        tail="additive",
        reach=fitted.largest_distance,
    )


def _embedding(config: Config, reference: Reference, path: Path) -> Any:
    size = reference.transform.resize
    pixels = read_picture_file(path, size, config.upload).pixels(size)
    planes = encoder_input(pixels, reference.transform)
    return encode(reference.autoencoder.encoder, planes[None])[0]
