"""An encoder trained on clean images, shared by the detectors that are judged on the same footage."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lenswatch.autoencoder import Autoencoder, encode
from lenswatch.config import EncoderConfig, TransformConfig
from lenswatch.images import Picture, encoder_input
from lenswatch.training import embed, train

__all__ = ["Encoder", "encoder_for", "scaled"]

Pixels = NDArray[np.uint8]
Embeddings = NDArray[np.float32]


@dataclass(frozen=True)
class Encoder:
    """A trained autoencoder with the embeddings of the clean images it was trained on."""

    autoencoder: Autoencoder
    transform: TransformConfig
    embeddings: Embeddings

    def __call__(self, small: Pixels) -> Embeddings:
        """The embedding, (d,), of an image at the encoder's size."""
        planes = encoder_input(small, self.transform)
        return np.asarray(encode(self.autoencoder.encoder, planes[None])[0])


def scaled(image: Pixels, transform: TransformConfig) -> Pixels:
    """An image of any size at the encoder's, as `predict` scales it."""
    height, width = image.shape[:2]
    return Picture(Image.fromarray(image), width, height, None).pixels(transform.resize)


_kept: dict[str, Encoder] = {}


def encoder_for(
    clean: Sequence[Pixels], seed: int, settings: EncoderConfig | None = None
) -> Encoder:
    """Train on clean images in time order; the last encoder is kept for the next detector."""
    settings = dataclasses.replace(settings or EncoderConfig(), seed=seed)
    transform = TransformConfig()
    small = np.stack([scaled(image, transform) for image in clean])
    key = hashlib.sha256(small[:: max(1, len(small) // 16)].tobytes() + repr(settings).encode())
    name = f"{key.hexdigest()}-{len(small)}"
    if name not in _kept:
        _kept.clear()
        autoencoder = _trained(small, transform, settings)
        _kept[name] = Encoder(autoencoder, transform, embed(autoencoder, small, transform))
    return _kept[name]


def _trained(small: Pixels, transform: TransformConfig, settings: EncoderConfig) -> Autoencoder:
    run = train(small, transform, settings)
    while True:
        try:
            next(run)
        except StopIteration as stop:
            autoencoder: Autoencoder = stop.value
            return autoencoder
