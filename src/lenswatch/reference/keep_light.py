"""Making the light form of a reference, held to torch on pictures."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import numpy as np

from lenswatch.detect.arrays import Pixels
from lenswatch.errors import ArtefactError, WriteError
from lenswatch.reference.artefact import Reference
from lenswatch.reference.autoencoder import TorchEncoder
from lenswatch.reference.light import Light, save_light
from lenswatch.reference.manifest import WEIGHTS
from lenswatch.reference.paths import reference_folder

__all__ = ["keep_light", "make_light", "noise"]

log = logging.getLogger(__name__)

MOST_DIFFERENT = 1e-5  # of embeddings, or of their largest value where that is above 1
_NEEDED = ("onnx", "onnxruntime")


def keep_light(storage: Path, reference: Reference, pictures: Iterable[Pixels]) -> Reference:
    """Make the light form of a saved reference, and return the reference as it is served from then on.

    Nothing depends on it but memory and time, so a failure is logged, and torch is used.

    Args:
        storage: The storage folder.
        reference: A reference with its encoder in torch.
        pictures: (height, width, 3) uint8, on which both encoders must agree.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        log.warning("the reference is served by torch: %s is not installed", " and ".join(missing))
        return reference
    try:
        return make_light(storage, reference, pictures)
    except (ArtefactError, WriteError) as error:
        said = str(error)
    log.warning("the reference is served by torch: %s", said)
    return reference


def make_light(storage: Path, reference: Reference, pictures: Iterable[Pixels]) -> Reference:
    """Do what `keep_light` does, without its patience.

    Raises:
        ArtefactError: The embeddings of a picture by ONNX and by torch differ by more than `MOST_DIFFERENT`.
        WriteError: The file cannot be written.
    """
    from lenswatch.reference.onnx_encoder import OnnxEncoder
    from lenswatch.reference.onnx_model import encoder_model

    if not isinstance(reference.encoder, TorchEncoder):
        raise ArtefactError("its encoder is not one of Lenswatch's own")
    model = encoder_model(reference.encoder.autoencoder, reference.transform)
    encoder = OnnxEncoder(model, reference_folder(storage) / reference.digest / WEIGHTS)
    count, largest = 0, 0.0
    for pixels in pictures:
        expected, found = reference.encoder(pixels), encoder(pixels)
        away = float(np.abs(found - expected).max()) / max(1.0, float(np.abs(expected).max()))
        count, largest = count + 1, max(largest, away)
        if not away <= MOST_DIFFERENT:
            raise ArtefactError(
                f"the encoder as ONNX differs from that in torch by {away:.2g} on picture {count}, more than "
                f"{MOST_DIFFERENT:g}"
            )
    about = {
        "pictures": count,
        "largest_difference": largest,
        "versions": {name: metadata.version(name) for name in ("torch", *_NEEDED)},
    }
    save_light(storage, reference.digest, Light(model, reference.embeddings, about))
    return dataclasses.replace(reference, encoder=encoder)


def noise(size: tuple[int, int], count: int = 8) -> list[Pixels]:
    """Return pictures of noise, (height, width, 3) uint8, where no others are at hand."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]
