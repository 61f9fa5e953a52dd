"""References from the two files that the DriftWatch tutorial's code saves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lenswatch.config import TransformConfig
from lenswatch.detect.arrays import Floats32
from lenswatch.detect.mmd import FittedMMD, median_distance
from lenswatch.errors import ArtefactError
from lenswatch.reference.artefact import Reference
from lenswatch.reference.autoencoder import TorchEncoder
from lenswatch.reference.encoder import Encoder
from lenswatch.reference.foreign import ForeignEncoder, kind_of_file
from lenswatch.reference.torch_files import load_autoencoder, load_embeddings

__all__ = ["load_pair"]


def load_pair(
    weights: Path, embeddings: Path, transform: TransformConfig, sigma: float | None
) -> Reference:
    """Load a reference from the two files that the DriftWatch tutorial's code saves.

    Args:
        weights: State dict of a `lenswatch.reference.autoencoder.Autoencoder`, or any other encoder as
            TorchScript, `torch.export` or ONNX.
        embeddings: An (n, d) tensor or a list of (1, d) tensors.
        transform: Conversion of a picture to the encoder's input.
        sigma: Bandwidth of the kernel; None fits it by the median heuristic.

    Raises:
        ArtefactError: A file is missing or damaged, or the two do not fit together.
        BlindKernelError: The kernel cannot tell two embeddings apart.
    """
    loaded = load_embeddings(embeddings)
    if kind_of_file(weights) is not None:
        foreign = ForeignEncoder(weights, transform, loaded.shape[1])
        return _fitted(foreign, loaded, transform, sigma)
    autoencoder = load_autoencoder(weights, transform.resize)
    if autoencoder.latent_dim != loaded.shape[1]:
        raise ArtefactError(
            f"{embeddings}: embeddings of {loaded.shape[1]} dimensions, but the encoder in {weights} "
            f"makes {autoencoder.latent_dim}; give the pair that one training saved"
        )
    return _fitted(TorchEncoder(autoencoder, transform), loaded, transform, sigma)


def _fitted(
    encoder: Encoder, embeddings: Floats32, transform: TransformConfig, sigma: float | None
) -> Reference:
    sigma = sigma or median_distance(embeddings.astype(np.float64))
    FittedMMD.fit(embeddings, sigma=sigma)  # raises BlindKernelError
    return Reference(encoder, embeddings, transform, sigma)
