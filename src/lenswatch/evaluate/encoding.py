"""An encoder trained on clean images, shared by the detectors that are judged on the same footage."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lenswatch.config import EncoderConfig, TransformConfig
from lenswatch.detect.arrays import Floats32, Pixels
from lenswatch.reference.autoencoder import Autoencoder, encode
from lenswatch.reference.pictures import Picture, encoder_input
from lenswatch.reference.training import Epoch, embed, train

__all__ = ["Encoder", "encoder_for", "scaled", "share_encoders", "train_encoder"]


_SAMPLED = 16  # images that tell one footage from another


@dataclass(frozen=True)
class Encoder:
    """A trained autoencoder with the embeddings of the clean images it was trained on."""

    autoencoder: Autoencoder
    transform: TransformConfig
    embeddings: Floats32
    _latest: list[tuple[Pixels, Floats32]] = dataclasses.field(default_factory=list, repr=False)

    def __call__(self, image: Pixels) -> Floats32:
        """The embedding, (d,), of an image of any size.

        The last one is remembered: detectors side by side see the same image.
        """
        for known, embedding in self._latest:
            if np.array_equal(known, image):
                return embedding
        planes = encoder_input(scaled(image, self.transform), self.transform)
        embedding = np.asarray(encode(self.autoencoder.encoder, planes[None])[0])
        self._latest[:] = [(image.copy(), embedding)]
        return embedding


def scaled(image: Pixels, transform: TransformConfig) -> Pixels:
    """An image of any size at the encoder's, as `predict` scales it."""
    height, width = image.shape[:2]
    return Picture(Image.fromarray(image), width, height, None).pixels(transform.resize)


_kept: dict[str, Encoder] = {}
_shared: list[Path] = []


def share_encoders(folder: Path) -> None:
    """Let this process use the encoders that others put into `folder`, and put its own there."""
    _shared[:] = [folder]


def encoder_for(
    clean: Sequence[Pixels], seed: int, settings: EncoderConfig | None = None
) -> Encoder:
    """The encoder of clean images in time order, trained unless it is at hand already.

    The last one is kept for the next detector.
    """
    run = train_encoder(clean, seed, settings)
    while True:
        try:
            next(run)
        except StopIteration as stop:
            encoder: Encoder = stop.value
            return encoder


def train_encoder(
    clean: Sequence[Pixels], seed: int, settings: EncoderConfig | None = None
) -> Generator[Epoch, None, Encoder]:
    """As `encoder_for`, with the epochs of the training as they pass."""
    settings = dataclasses.replace(settings or EncoderConfig(), seed=seed)
    transform = TransformConfig()
    name = _name(clean, transform, settings)
    if name in _kept:
        return _kept[name]
    files = [folder / f"{name}.encoder" for folder in _shared]
    found = next((_read(file) for file in files if file.exists()), None)
    if found is None:
        small = np.stack([scaled(image, transform) for image in clean])
        autoencoder = yield from train(small, transform, settings)
        found = Encoder(autoencoder, transform, embed(autoencoder, small, transform))
        for file in files:
            _write(file, found)
    _kept.clear()
    _kept[name] = found
    return found


def _name(clean: Sequence[Pixels], transform: TransformConfig, settings: EncoderConfig) -> str:
    digest = hashlib.sha256(repr(settings).encode())
    for image in clean[:: max(1, len(clean) // _SAMPLED)]:
        digest.update(scaled(image, transform).tobytes())
    return f"{digest.hexdigest()}-{len(clean)}"


def _write(file: Path, encoder: Encoder) -> None:
    """Whole or not at all, as others may be looking."""
    autoencoder = encoder.autoencoder
    document = {
        "size": autoencoder.size,
        "latent_dim": autoencoder.latent_dim,
        "weights": autoencoder.state_dict(),
        "embeddings": torch.from_numpy(encoder.embeddings),
    }
    temporary = file.with_suffix(f".{os.getpid()}")
    torch.save(document, temporary)
    temporary.replace(file)


def _read(file: Path) -> Encoder:
    document = torch.load(file, weights_only=True)
    autoencoder = Autoencoder(document["size"], document["latent_dim"])
    autoencoder.load_state_dict(document["weights"])
    return Encoder(autoencoder.eval(), TransformConfig(), document["embeddings"].numpy())
