"""An encoder trained on clean images, shared by the detectors that are compared on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from lenswatch.config import EncoderConfig, TransformConfig
from lenswatch.detect.arrays import Floats32, Pixels
from lenswatch.errors import InputError
from lenswatch.reference.autoencoder import Autoencoder, encode
from lenswatch.reference.embedding import embed
from lenswatch.reference.pictures import Picture, encoder_input
from lenswatch.reference.training import Epoch, train

__all__ = ["Encoder", "encoder_for", "scaled"]

_FEWEST = 30  # clean images: what the largest window of a built-in detector holds


class Encoder:
    """A trained autoencoder with the embeddings of the clean images that it was trained on.

    Attributes:
        autoencoder: the network.
        transform: how images become its input.
        embeddings: (n, d) float32, of the clean images in time order.
    """

    transform = TransformConfig()

    def __init__(
        self,
        autoencoder: Autoencoder,
        embeddings: Floats32,
        transform: TransformConfig | None = None,
    ) -> None:
        self.autoencoder = autoencoder
        self.transform = transform or Encoder.transform
        self.embeddings = embeddings
        self._latest: tuple[Pixels, Floats32] | None = None

    @classmethod
    def train(
        cls,
        clean: Sequence[Pixels],
        seed: int,
        settings: EncoderConfig | None = None,
        progress: Callable[[Epoch], None] = lambda _: None,
        transform: TransformConfig | None = None,
    ) -> Encoder:
        """Train on clean images (h, w, 3) in time order; `progress` is told of each epoch."""
        transform = transform or cls.transform
        settings = dataclasses.replace(settings or EncoderConfig(), seed=seed)
        small = np.stack([scaled(image, transform) for image in clean])
        autoencoder = train(small, transform, settings, progress)
        return cls(autoencoder, embed(autoencoder, small, transform), transform)

    def __call__(self, image: Pixels) -> Floats32:
        """Return the embedding, (d,), of an image of any size.

        The last one is remembered, since detectors side by side see the same image.
        """
        if self._latest is not None and np.array_equal(self._latest[0], image):
            return self._latest[1]
        planes = encoder_input(scaled(image, self.transform), self.transform)
        embedding = np.asarray(encode(self.autoencoder.encoder, planes[None])[0])
        self._latest = image.copy(), embedding
        return embedding

    def save(self, file: Path) -> None:
        """Write a file that `load` reads."""
        document = {
            "size": self.autoencoder.size,
            "latent_dim": self.autoencoder.latent_dim,
            "weights": self.autoencoder.state_dict(),
            "embeddings": torch.from_numpy(self.embeddings),
        }
        torch.save(document, file)

    @classmethod
    def load(cls, file: Path) -> Encoder:
        """Read what `save` wrote."""
        document = torch.load(file, weights_only=True)
        autoencoder = Autoencoder(document["size"], document["latent_dim"])
        autoencoder.load_state_dict(document["weights"])
        return cls(autoencoder.eval(), document["embeddings"].numpy())


def encoder_for(clean: Sequence[Pixels], seed: int, shared: Encoder | None) -> Encoder:
    """Return the shared encoder, or one that is trained on the clean images.

    Raises:
        InputError: too few images.
    """
    if len(clean) < _FEWEST:
        raise InputError(f"{len(clean)} clean images are too few; give {_FEWEST} or more")
    return shared or Encoder.train(clean, seed)


def scaled(image: Pixels, transform: TransformConfig) -> Pixels:
    """Return an image of any size at the encoder's size, scaled as `predict` scales it."""
    return Picture.of(image).pixels(transform.resize)
