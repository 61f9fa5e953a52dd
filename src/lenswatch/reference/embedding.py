"""Embeddings of many pictures: one by one as in `predict`, here, on a GPU, or by a cluster."""

from __future__ import annotations

import copy
import functools
import io
import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from lenswatch.config import TransformConfig
from lenswatch.detect.arrays import Pixels
from lenswatch.progress import Progress, Step, no_progress
from lenswatch.reference.autoencoder import Autoencoder, encode
from lenswatch.reference.device import COMPARED, CPU, SAME, exactly, farthest
from lenswatch.reference.identity import content_digest
from lenswatch.reference.pictures import encoder_input

if TYPE_CHECKING:
    from lenswatch.cluster.connection import Cluster

__all__ = ["Embeddings", "embed", "embed_on"]

log = logging.getLogger(__name__)

Embeddings = npt.NDArray[np.float32]


def embed(
    autoencoder: Autoencoder,
    pixels: Pixels,
    transform: TransformConfig,
    progress: Progress = no_progress,
    device: torch.device = CPU,
    *,
    cluster: Cluster | None = None,
) -> Embeddings:
    """Return the embeddings (n, latent_dim) of (n, height, width, 3) uint8, one by one as in `predict`.

    The workers of a cluster compute them if there is one. Else another device than the CPU is used if it
    agrees with the CPU on some of the pictures.
    """
    if cluster is not None:
        return _stacked(_elsewhere(cluster, autoencoder, transform, pixels), len(pixels), progress)
    if device.type != "cpu":
        some = pixels[:: -(-len(pixels) // COMPARED)]
        with exactly(device):
            rows = embed_on(device, autoencoder, some, transform)
        away = farthest(rows, embed(autoencoder, some, transform))
        if away <= SAME:
            with exactly(device):
                return embed_on(device, autoencoder, pixels, transform, progress)
        log.warning(
            "embeddings of %s differ from the CPU's by %.1g of their largest value, so the CPU encodes",
            device,
            away,
        )
    return embed_on(CPU, autoencoder, pixels, transform, progress)


def embed_on(
    device: torch.device,
    autoencoder: Autoencoder,
    pixels: Pixels,
    transform: TransformConfig,
    progress: Progress = no_progress,
) -> Embeddings:
    """Return the embeddings that a device computes, one by one."""
    encoder = autoencoder.encoder if device == CPU else copy.deepcopy(autoencoder.encoder)
    encoder = encoder.to(device)
    return _stacked((_embedding(encoder, transform, one) for one in pixels), len(pixels), progress)


def _stacked(rows: Iterable[Embeddings], count: int, progress: Progress) -> Embeddings:
    found = []
    for row in rows:
        found.append(row)
        progress(Step("encoding", len(found), count))
    return np.stack(found)


def _embedding(encoder: torch.nn.Module, transform: TransformConfig, one: Pixels) -> Embeddings:
    row: Embeddings = encode(encoder, encoder_input(one, transform)[None])[0]
    return row


def _elsewhere(
    cluster: Cluster, autoencoder: Autoencoder, transform: TransformConfig, pixels: Pixels
) -> Iterator[Embeddings]:
    """Yield the embedding of each picture by the workers of a cluster, with as many threads as here."""
    buffer = io.BytesIO()
    torch.save(autoencoder.state_dict(), buffer)
    weights, threads = buffer.getvalue(), torch.get_num_threads()
    name = f"autoencoder-{content_digest(weights)}"
    make = functools.partial(_loaded, weights, autoencoder.size, autoencoder.latent_dim, threads)
    cluster.keep(name, make)
    yield from cluster.in_order(functools.partial(_embedding_of_kept, name, transform), pixels)


def _loaded(weights: bytes, size: tuple[int, int], latent_dim: int, threads: int) -> Autoencoder:
    """Return an autoencoder, in a worker."""
    torch.set_num_threads(threads)
    autoencoder = Autoencoder(size, latent_dim)
    autoencoder.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True))
    return autoencoder.eval()


def _embedding_of_kept(name: str, transform: TransformConfig, one: Pixels) -> Embeddings:
    from lenswatch.cluster.connection import kept

    autoencoder: Autoencoder = kept(name)
    return _embedding(autoencoder.encoder, transform, one)
