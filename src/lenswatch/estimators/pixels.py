"""Transformers of pictures that need no reference: pixels, and an encoder that learnt nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from lenswatch.config import TransformConfig, UploadConfig
from lenswatch.detect.arrays import Floats32, Pixels
from lenswatch.reference.pictures import Picture, read_picture, read_picture_file

__all__ = ["ImagePixels", "UntrainedEncoder", "read_all"]

Source = str | Path | bytes | Pixels


def read_all(sources: Iterable[Source], size: tuple[int, int], bits: int = 0) -> Iterator[Pixels]:
    """Yield pictures as (height, width, 3) uint8 of one size.

    Args:
        sources: Paths, the bytes of files, or (h, w, 3) uint8 of any size.
        size: Height and width.
        bits: Bits that the pictures use of 16; 0 for all.

    Raises:
        ImageError: One cannot be read.
    """
    height, width = size
    for one in sources:
        if isinstance(one, np.ndarray):
            picture = Picture.of(one)
        elif isinstance(one, bytes):
            picture = read_picture(one, (height, width), UploadConfig(), bits)
        else:
            picture = read_picture_file(Path(one), (height, width), UploadConfig(), bits)
        yield picture.pixels((height, width))


class _WithoutReference(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # as in drift.py
    """The parts that both transformers share. Subclasses give `_rows` and the number of columns."""

    size: tuple[int, int]

    def fit(self, X: Any = None, y: Any = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Set the number of columns; nothing is learnt from `X`."""
        self.n_features_out_ = self._columns()
        return self

    def transform(self, X: Iterable[Source]) -> Floats32:
        """Return (n, d) of pictures: paths, the bytes of files, or (h, w, 3) uint8.

        Raises:
            ImageError: One cannot be read.
        """
        check_is_fitted(self)
        rows = [self._row(pixels) for pixels in read_all(X, self.size)]
        return np.array(rows, np.float32).reshape(len(rows), self.n_features_out_)

    def _columns(self) -> int:
        raise NotImplementedError

    def _row(self, pixels: Pixels) -> Floats32:
        raise NotImplementedError


class ImagePixels(_WithoutReference):
    """The pixels of a picture as a row, for reducers such as `PCA` that learn from them.

    Args:
        size: Height and width that each picture is scaled to.

    Attributes:
        n_features_out_: Numbers in a row: 3 for each pixel, from 0 to 1.
    """

    def __init__(self, size: tuple[int, int] = (54, 96)) -> None:
        self.size = size

    def _columns(self) -> int:
        return 3 * self.size[0] * self.size[1]

    def _row(self, pixels: Pixels) -> Floats32:
        return pixels.reshape(-1).astype(np.float32) / 255


class UntrainedEncoder(_WithoutReference):
    """The encoder as it is before training, which a trained one must beat (Rabanser et al. 2019).

    Args:
        size: Height and width that each picture is scaled to.
        latent_dim: Length of an embedding.
        seed: Seed of the weights.

    Attributes:
        n_features_out_: Length of an embedding.
    """

    def __init__(
        self, size: tuple[int, int] = (216, 384), latent_dim: int = 32, seed: int = 0
    ) -> None:
        self.size = size
        self.latent_dim = latent_dim
        self.seed = seed

    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Draw the weights; nothing is learnt from `X`."""
        self._encoder()
        return super().fit(X, y)

    def _columns(self) -> int:
        return self.latent_dim

    def _row(self, pixels: Pixels) -> Floats32:
        row: Floats32 = self._encoder()(pixels)
        return row

    def _encoder(self) -> Any:
        """Return the encoder, which is drawn again after loading: the seed says it all."""
        height, width = self.size
        wanted = (height, width, self.latent_dim, self.seed)
        if getattr(self, "_drawn", None) != wanted:
            import torch

            from lenswatch.reference.autoencoder import Autoencoder, TorchEncoder

            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                network = Autoencoder((height, width), self.latent_dim).eval()
            self._drawn, self._network = wanted, TorchEncoder(network, TransformConfig())
        return self._network

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {key: value for key, value in state.items() if key not in ("_drawn", "_network")}
