"""From clean pictures to a reference: read, train, encode, save.

`build_reference` is a generator: it yields a `Step` for everything that takes time, so that a
command draws a progress bar and a log writes lines; it prints nothing itself.
"""

from __future__ import annotations

import dataclasses
import math
import platform
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lenswatch.config import Config, EncoderConfig, TransformConfig
from lenswatch.detect.chart.features import measure_all
from lenswatch.detect.mmd import median_distance
from lenswatch.errors import BlindKernelError, ConfigError, ImageError, InputError
from lenswatch.progress import Step
from lenswatch.reference.artefact import Reference, list_digest, save_reference
from lenswatch.reference.autoencoder import Autoencoder, encode
from lenswatch.reference.pictures import encoder_input, read_picture_file

__all__ = ["Epoch", "build_reference", "embed", "find_pictures", "train"]

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".jp2", ".ppm"}

Pixels = npt.NDArray[np.uint8]
Embeddings = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Epoch:
    """One pass over the training pictures.

    Losses are the mean squared error per normalised pixel value plus the weighted sparsity term.
    """

    number: int
    training_loss: float
    validation_loss: float
    best: bool
    pictures_per_second: float


def find_pictures(
    folder: Path, patterns: Sequence[str], key: str = "camera_state.clean"
) -> list[Path]:
    """The pictures that `patterns` (names or globs under `folder`) name, in the order of their names.

    The order of the names is taken as the order in time, so name pictures by date.
    """
    found: set[Path] = set()
    for pattern in patterns:
        if Path(pattern).is_absolute():
            raise ConfigError(f"{key}: {pattern!r}: give a name or pattern below {folder}")
        matches = {path for path in folder.glob(pattern) if path.suffix.lower() in _SUFFIXES}
        if not matches:
            raise ConfigError(f"{key}: {pattern!r} names no picture below {folder}")
        found |= matches
    return sorted(found, key=lambda path: (path.parent, path.name))


def build_reference(config: Config, pictures: Sequence[Path]) -> Generator[Step, None, Reference]:
    """Train on clean `pictures`, in time order, and save the reference; returned when exhausted.

    Raises:
        InputError: too few pictures, or one that cannot be read, named.
    """
    fewest = 3 * config.detector.window_size + 4  # a window in each half, and one between them
    if len(pictures) < fewest:
        raise InputError(
            f"{len(pictures)} clean pictures are too few to learn from; give {fewest} or more "
            "(some hundreds, over a whole day, are better)"
        )
    with tempfile.TemporaryDirectory() as scratch, _one_thread_count(config.encoder.threads):
        pixels = yield from _read_all(config, pictures, Path(scratch))
        autoencoder, epochs = yield from _train_steps(pixels, config)
        embeddings = yield from _embed_steps(autoencoder, pixels, config.transform)
        lens = measure_all(pixels)
    sigma = config.detector.sigma
    fitted_sigma = _median(embeddings) if sigma == "median" else float(sigma)
    names = tuple(path.name for path in pictures)
    reference = Reference(autoencoder, embeddings, config.transform, fitted_sigma, names, lens)
    reference.detector(
        config.detector.window_size
    )  # refuses a blind kernel before anything is kept
    return save_reference(config.storage_path, reference, _manifest(config, pictures, epochs))


def train(
    pixels: Pixels, transform: TransformConfig, settings: EncoderConfig
) -> Generator[Epoch, None, Autoencoder]:
    """Train an autoencoder on (n, height, width, 3) uint8 pictures in time order.

    The last `validation_share` of them is held out: neighbours in time are alike, so a random split
    would test on what it trained on. Training stops after `patience` epochs without progress, and
    the best weights are returned. The same seed gives the same weights on the same machine.
    """
    torch.manual_seed(settings.seed)
    shuffle = torch.Generator().manual_seed(settings.seed)
    autoencoder = Autoencoder((pixels.shape[1], pixels.shape[2]), settings.latent_dim)
    optimiser = torch.optim.Adam(autoencoder.parameters(), settings.learning_rate)
    split = len(pixels) - max(1, round(len(pixels) * settings.validation_share))
    best, best_weights, waited = math.inf, autoencoder.state_dict(), 0
    for number in range(1, settings.epochs + 1):
        started = time.perf_counter()
        order = torch.randperm(split, generator=shuffle).tolist()
        with _one_thread_count(settings.threads):
            loss = _epoch(autoencoder, pixels, order, transform, settings, optimiser)
        speed = split / (time.perf_counter() - started)
        held_out = _epoch(
            autoencoder, pixels, list(range(split, len(pixels))), transform, settings, None
        )
        improved = held_out < best * (1 - 1e-4)
        waited = 0 if improved else waited + 1
        if improved:
            best = held_out
            best_weights = {k: v.detach().clone() for k, v in autoencoder.state_dict().items()}
        yield Epoch(number, loss, held_out, improved, speed)
        if waited >= settings.patience:
            break
    if not math.isfinite(best):
        raise InputError(
            f"training diverged (validation loss {held_out}); lower encoder.learning_rate from "
            f"{settings.learning_rate}"
        )
    autoencoder.load_state_dict(best_weights)
    return autoencoder.eval()


def embed(autoencoder: Autoencoder, pixels: Pixels, transform: TransformConfig) -> Embeddings:
    """(n, height, width, 3) uint8 -> (n, latent_dim) float32, picture by picture as `predict` does."""
    rows = [encode(autoencoder.encoder, encoder_input(one, transform)[None])[0] for one in pixels]
    return np.stack(rows)


@contextmanager
def _one_thread_count(threads: int) -> Iterator[None]:
    """Sums in floating point depend on how they are shared out among threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
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
    """One pass in the given order; learns when there is an optimiser. The mean loss."""
    autoencoder.train(optimiser is not None)
    total = 0.0
    for start in range(0, len(order), settings.batch_size):
        chosen = order[start : start + settings.batch_size]
        batch = torch.from_numpy(np.stack([encoder_input(pixels[i], transform) for i in chosen]))
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


def _read_all(
    config: Config, pictures: Sequence[Path], scratch: Path
) -> Generator[Step, None, Pixels]:
    """Every picture at the encoder's size, in a memory-mapped file: any number of them fits."""
    height, width = config.transform.resize
    shape = (len(pictures), height, width, 3)
    pixels = np.memmap(scratch / "pixels", np.uint8, "w+", shape=shape)
    for i, path in enumerate(pictures):
        try:
            pixels[i] = read_picture_file(path, config.transform.resize, config.upload).pixels(
                (height, width)
            )
        except ImageError as error:
            raise InputError(f"{path}: {error}") from None
        yield Step("reading pictures", i + 1, len(pictures))
    return pixels


def _train_steps(
    pixels: Pixels, config: Config
) -> Generator[Step, None, tuple[Autoencoder, list[Epoch]]]:
    epochs: list[Epoch] = []
    run = train(pixels, config.transform, config.encoder)
    while True:
        try:
            epoch = next(run)
        except StopIteration as stop:
            yield Step(
                "training", epochs[-1].number, epochs[-1].number
            )  # it may have stopped early
            return stop.value, epochs
        epochs.append(epoch)
        detail = (
            f"loss {epoch.training_loss:.4f}, validation {epoch.validation_loss:.4f}, "
            f"{epoch.pictures_per_second:.0f} pictures/s"
        )
        yield Step("training", epoch.number, config.encoder.epochs, detail)


def _embed_steps(
    autoencoder: Autoencoder, pixels: Pixels, transform: TransformConfig
) -> Generator[Step, None, Embeddings]:
    found = []
    for i in range(len(pixels)):
        found.append(embed(autoencoder, pixels[i : i + 1], transform)[0])
        yield Step("encoding", i + 1, len(pixels))
    return np.stack(found)


def _median(embeddings: Embeddings) -> float:
    sigma = median_distance(embeddings.astype(np.float64))
    if not sigma > 0:
        raise BlindKernelError(
            "the clean pictures all encode alike, so that no bandwidth can be fitted; "
            "give pictures that differ (a whole day of the camera)"
        )
    return sigma


def _manifest(config: Config, pictures: Sequence[Path], epochs: Sequence[Epoch]) -> dict[str, Any]:
    best = min(epochs, key=lambda epoch: epoch.validation_loss)
    return {
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "pictures_digest": list_digest(path.name for path in pictures),
        "seed": config.encoder.seed,
        "configuration": {
            table: dataclasses.asdict(getattr(config, table))
            for table in ("transform", "camera_state", "encoder", "detector")
        },
        "versions": _versions(),
        "metrics": {
            "epochs": len(epochs),
            "best_epoch": best.number,
            "training_loss": best.training_loss,
            "validation_loss": best.validation_loss,
            "pictures_per_second": round(best.pictures_per_second, 1),
        },
    }


def _versions() -> dict[str, str]:
    packages: Iterator[str] = iter(("lenswatch", "torch", "numpy", "scipy", "frouros", "pillow"))
    return {"python": platform.python_version()} | {
        name: metadata.version(name) for name in packages
    }
