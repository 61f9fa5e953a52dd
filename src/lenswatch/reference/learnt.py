"""The least that a training must learn."""

from __future__ import annotations

import numpy as np

from lenswatch.config import EncoderConfig, TransformConfig
from lenswatch.detect.arrays import Pixels
from lenswatch.errors import InputError

__all__ = ["check_learnt", "loss_of_one_colour", "split_of"]

WORTH = 0.95  # of the loss before training: with more, that was chance


def split_of(n: int, validation_share: float) -> int:
    """Return the number of pictures that are trained on; at least the last of all n is held out."""
    return n - max(1, round(n * validation_share))


def check_learnt(validation_loss: float, untrained_loss: float, settings: EncoderConfig) -> None:
    """Raise InputError when a training learnt nothing.

    The loss of the mean picture would be too strict a measure: that of ten pictures of a fixed camera is
    hard to beat, while their embeddings are of use.

    Args:
        validation_loss: The lowest one.
        untrained_loss: The one before training.
        settings: How it was trained.
    """
    if not validation_loss < untrained_loss * WORTH:
        raise InputError(
            f"training learnt nothing: its validation loss is {validation_loss:.4f}, and was "
            f"{untrained_loss:.4f} before; nothing was changed: raise encoder.epochs, choose another "
            f"encoder.learning_rate than {settings.learning_rate:g}, or give more clean pictures"
        )


def loss_of_one_colour(pixels: Pixels, transform: TransformConfig) -> float:
    """Return the loss of a network that answers each picture with the mean colour of them all.

    A network that knows nothing of the scene does no better.

    Args:
        pixels: (n, height, width, 3) uint8.
        transform: Normalisation of the pixels.

    Returns:
        The mean squared error per normalised pixel value.
    """
    means = [np.mean(one, axis=(0, 1), dtype=np.float64) for one in pixels]
    squares = [np.mean(np.square(one, dtype=np.float64), axis=(0, 1)) for one in pixels]
    variance = np.mean(squares, axis=0) - np.square(np.mean(means, axis=0))
    return float(np.mean(variance / np.square(255 * np.asarray(transform.std, np.float64))))
