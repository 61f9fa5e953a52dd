"""Training: from clean pictures to a saved reference.

Every function that takes long reports its steps to a callback; nothing is printed here.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lenswatch.config import Config, EncoderConfig, TransformConfig
from lenswatch.detect.arrays import Pixels
from lenswatch.detect.chart.features import measure_all
from lenswatch.detect.mmd import median_distance
from lenswatch.errors import BlindKernelError, InputError
from lenswatch.progress import Progress, Step, no_progress
from lenswatch.reference.amount import check_amount, fewest_pictures
from lenswatch.reference.artefact import Reference, list_digest, save_reference, use_reference
from lenswatch.reference.autoencoder import Autoencoder, TorchEncoder
from lenswatch.reference.device import chosen_device, exactly
from lenswatch.reference.embedding import Embeddings, embed
from lenswatch.reference.environment import code, packages
from lenswatch.reference.footage import Footage, read_pictures
from lenswatch.reference.identity import PictureFile, path_below
from lenswatch.reference.keep_light import keep_light
from lenswatch.reference.keep_thumbnails import chosen_rows, keep_thumbnails
from lenswatch.reference.learnt import check_learnt, loss_of_one_colour, split_of
from lenswatch.reference.order import find_in_order, times_of
from lenswatch.reference.pictures import encoder_input
from lenswatch.reference.pictures.depth import WHOLE, bits_of

if TYPE_CHECKING:
    from lenswatch.cluster.connection import Cluster

__all__ = [
    "Epoch",
    "build_reference",
    "find_pictures",
    "train",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Epoch:
    """One pass over the training pictures.

    A loss is the mean squared error per normalised pixel value plus the weighted sparsity term.

    Attributes:
        number: Counted from 1.
        training_loss: Mean loss of the pictures that are trained on.
        validation_loss: Mean loss of the pictures that are held out.
        best: The validation loss is the lowest so far.
        pictures_per_second: Speed of the training.
        ended_at: Unix time.
    """

    number: int
    training_loss: float
    validation_loss: float
    best: bool
    pictures_per_second: float
    ended_at: float


def find_pictures(
    folder: Path, patterns: Sequence[str], key: str = "camera_state.clean"
) -> list[Path]:
    """Return the pictures that match `patterns` in time order, as `find_in_order` does.

    Args:
        folder: The folder that the patterns start from.
        patterns: File names or globs.
        key: Setting that the patterns come from, for messages.

    Raises:
        ConfigError: A pattern is absolute or matches no picture.
    """
    return list(find_in_order(folder, patterns, key=key).pictures)


def build_reference(
    config: Config,
    pictures: Sequence[Path],
    progress: Progress = no_progress,
    *,
    make_current: bool = True,
    cluster: Cluster | None = None,
) -> Reference:
    """Train on clean pictures, save the reference and make it the current one.

    Args:
        config: The settings.
        pictures: The clean pictures, in time order. Unreadable ones are left out, see `read_pictures`.
        progress: Called after each step.
        make_current: False leaves the reference in use as it is.
        cluster: Its workers read and encode the pictures; None for this process, which trains in any case.

    Raises:
        InputError: There are too few pictures, too many that cannot be read, or nothing was learnt.
        BlindKernelError: The embeddings are so much alike that the kernel cannot tell them apart.
    """
    check_amount(len(pictures), fewest_pictures(config))
    with _threads(config.encoder.threads):
        transform, footage = _read_clean(pictures, config, progress, cluster)
        config = dataclasses.replace(config, transform=transform)
        check_amount(len(footage.files), fewest_pictures(config))
        autoencoder, epochs = _train(footage.pixels, config, progress)
        loss = min(epoch.validation_loss for epoch in epochs)
        check_learnt(loss, _untrained_loss(footage.pixels, config), config.encoder)
        device = chosen_device(config.encoder.device)
        embeddings = embed(
            autoencoder, footage.pixels, config.transform, progress, device, cluster=cluster
        )
        lens = measure_all(footage.pixels)
    sigma = config.detector.sigma
    fitted_sigma = _median(embeddings) if sigma == "median" else float(sigma)
    times = times_of(footage.files, config.camera.zone)
    listed = tuple(
        PictureFile(path_below(config.image_folder, file), digest, taken)
        for file, digest, taken in zip(footage.files, footage.digests, times, strict=True)
    )
    encoder = TorchEncoder(autoencoder, config.transform)
    reference = Reference(encoder, embeddings, config.transform, fitted_sigma, listed, lens)
    reference.detector(config.detector.window_size)  # raises BlindKernelError before it is saved
    manifest = _manifest(config, footage.digests, epochs)
    saved = save_reference(config.storage_path, reference, manifest, make_current=False)
    with _threads(config.encoder.threads):
        saved = keep_light(config.storage_path, saved, footage.pixels)
    if config.storage.keep_images:
        keep_thumbnails(config, saved, {row: footage.files[row] for row in chosen_rows(saved)})
    if make_current:
        use_reference(config.storage_path, saved.digest)
    return saved


def _read_clean(
    pictures: Sequence[Path], config: Config, progress: Progress, cluster: Cluster | None
) -> tuple[TransformConfig, Footage]:
    """Read the clean pictures; the bits that they use of 16 are those of the reference from then on.

    All pictures together tell the bits, and later ones do not change them: a single dark picture of 12
    bits looks like one of 10, and a camera may not change its scaling from picture to picture.
    """
    transform, limits = config.transform, config.upload
    kind, given = "clean pictures", transform.sample_bits
    footage = read_pictures(pictures, transform.resize, limits, progress, kind, given, cluster)
    bits = WHOLE if footage.largest is None else bits_of(footage.largest)
    if transform.sample_bits or bits == WHOLE:
        return transform, footage
    log.warning(
        "the largest 16-bit value of the clean pictures is %s, so they are taken as %d bits; if the camera "
        "has more, set transform.sample_bits and train again",
        footage.largest,
        bits,
    )
    transform = dataclasses.replace(transform, sample_bits=bits)
    kind = "clean pictures again"
    again = read_pictures(pictures, transform.resize, limits, progress, kind, bits, cluster)
    return transform, again


def train(
    pixels: Pixels,
    transform: TransformConfig,
    settings: EncoderConfig,
    progress: Callable[[Epoch], None] = lambda _: None,
) -> Autoencoder:
    """Train an autoencoder.

    The last `validation_share` of the pictures is held out: neighbours in time are alike, so a random
    split would validate with pictures almost the same as those trained on. Training stops after
    `patience` epochs without progress, which is that of the training loss until the network does better than
    with one colour for all pictures. The same seed gives the same weights on the same machine.

    Args:
        pixels: (n, height, width, 3) uint8, in time order.
        transform: Normalisation of the pixels.
        settings: Size of the embedding, how to train, and on which device.
        progress: Called after each epoch. An exception that it raises ends the training.

    Returns:
        The autoencoder of the best epoch, on the CPU.

    Raises:
        InputError: The loss becomes infinite or NaN.
    """
    torch.manual_seed(settings.seed)
    shuffle = torch.Generator().manual_seed(settings.seed)
    device = chosen_device(settings.device)
    autoencoder = Autoencoder((pixels.shape[1], pixels.shape[2]), settings.latent_dim).to(device)
    optimiser = torch.optim.Adam(autoencoder.parameters(), settings.learning_rate)
    split = split_of(len(pixels), settings.validation_share)
    held_out = list(range(split, len(pixels)))
    best, best_weights, waited = math.inf, autoencoder.state_dict(), 0
    lowest, least = math.inf, loss_of_one_colour(pixels[:split], transform)
    for number in range(1, settings.epochs + 1):
        started = time.perf_counter()
        order = torch.randperm(split, generator=shuffle).tolist()
        with _threads(settings.threads), exactly(device):
            loss = _epoch(autoencoder, pixels, order, transform, settings, optimiser)
        speed = split / (time.perf_counter() - started)
        validation = _epoch(autoencoder, pixels, held_out, transform, settings, None)
        improved = validation < best * (1 - 1e-4)
        # Until something is learnt, held-out pictures of another light say little, such as those of a night.
        learns = lowest >= least and loss < lowest * (1 - 1e-4)
        waited, lowest = 0 if improved or learns else waited + 1, min(loss, lowest)
        if improved:
            best = validation
            best_weights = {k: v.detach().clone() for k, v in autoencoder.state_dict().items()}
        progress(Epoch(number, loss, validation, improved, speed, time.time()))
        if waited >= settings.patience:
            break
    if not math.isfinite(best):
        raise InputError(
            f"training diverged (validation loss {validation}); lower encoder.learning_rate from "
            f"{settings.learning_rate}"
        )
    autoencoder.load_state_dict(best_weights)
    return autoencoder.cpu().eval()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Set torch's number of threads, on which the rounding of sums depends."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _epoch(
    autoencoder: Autoencoder,
    pixels: Pixels,
    order: list[int],
    transform: TransformConfig,
    settings: EncoderConfig,
    optimiser: torch.optim.Optimizer | None,
) -> float:
    """Pass over the pictures in `order`, training if there is an optimiser; return the mean loss."""
    autoencoder.train(optimiser is not None)
    total = 0.0
    for start in range(0, len(order), settings.batch_size):
        chosen = order[start : start + settings.batch_size]
        planes = np.stack([encoder_input(pixels[i], transform) for i in chosen])
        batch = torch.from_numpy(planes).to(next(autoencoder.parameters()).device)
        with torch.set_grad_enabled(optimiser is not None):
            reconstruction, embedding = autoencoder(batch)
            loss = torch.nn.functional.mse_loss(reconstruction, batch)
            loss = loss + settings.sparsity_weight * embedding.abs().mean()
        if optimiser is not None:
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        total += float(loss.detach()) * len(chosen)
    return total / len(order)


def _untrained_loss(pixels: Pixels, config: Config) -> float:
    """Return the validation loss of the network before it is trained."""
    torch.manual_seed(config.encoder.seed)
    untrained = Autoencoder((pixels.shape[1], pixels.shape[2]), config.encoder.latent_dim)
    held_out = list(range(split_of(len(pixels), config.encoder.validation_share), len(pixels)))
    return _epoch(untrained, pixels, held_out, config.transform, config.encoder, None)


def _train(pixels: Pixels, config: Config, progress: Progress) -> tuple[Autoencoder, list[Epoch]]:
    epochs: list[Epoch] = []

    def report(epoch: Epoch) -> None:
        epochs.append(epoch)
        detail = (
            f"loss {epoch.training_loss:.4f}, validation {epoch.validation_loss:.4f}, "
            f"{epoch.pictures_per_second:.0f} pictures/s"
        )
        progress(Step("training", epoch.number, config.encoder.epochs, detail))

    autoencoder = train(pixels, config.transform, config.encoder, report)
    progress(Step("training", len(epochs), len(epochs)))  # it may have stopped early
    return autoencoder, epochs


def _median(embeddings: Embeddings) -> float:
    sigma = median_distance(embeddings.astype(np.float64))
    if not sigma > 0:
        raise BlindKernelError(
            "the embeddings of the clean pictures are all equal, so that no bandwidth can be fitted; "
            "give pictures that differ (a whole day of the camera)"
        )
    return sigma


def _manifest(config: Config, digests: Sequence[str], epochs: Sequence[Epoch]) -> dict[str, Any]:
    best = min(epochs, key=lambda epoch: epoch.validation_loss)
    return {
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "pictures_digest": list_digest(digests),
        "seed": config.encoder.seed,
        "configuration": {
            table: dataclasses.asdict(getattr(config, table))
            for table in ("transform", "camera_state", "encoder", "detector")
        },
        "code": code(),
        "versions": _versions(),
        "environment": packages(),
        "metrics": {
            "epochs": len(epochs),
            "best_epoch": best.number,
            "training_loss": best.training_loss,
            "validation_loss": best.validation_loss,
            "pictures_per_second": round(best.pictures_per_second, 1),
        },
        "history": [
            {
                "epoch": epoch.number,
                "ended_at": round(epoch.ended_at, 3),
                "training_loss": epoch.training_loss,
                "validation_loss": epoch.validation_loss,
            }
            for epoch in epochs
        ],
    }


def _versions() -> dict[str, str]:
    packages = ("lenswatch", "torch", "numpy", "scipy", "frouros", "pillow")
    return {"python": platform.python_version()} | {
        name: metadata.version(name) for name in packages
    }
