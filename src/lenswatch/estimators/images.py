"""Pictures to embeddings, as the first step of a scikit-learn pipeline."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from lenswatch.detect.arrays import Floats32
from lenswatch.estimators.pixels import Source, read_all
from lenswatch.reference.artefact import Reference, load_reference

__all__ = ["ImageEncoder"]


class ImageEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # as in drift.py
    """The encoder of a reference that `lenswatch train` has made.

    Args:
        storage: The storage folder.
        digest: The reference; None for the one in use when `fit` is called.

    Attributes:
        digest_: The reference whose encoder is used.
        n_features_out_: Length of an embedding.
    """

    def __init__(self, storage: str | Path = "storage", digest: str | None = None) -> None:
        self.storage = storage
        self.digest = digest

    def fit(self, X: Any = None, y: Any = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Load the reference; nothing is learnt from `X`."""
        reference = self._load(self.digest)
        self.digest_ = reference.digest
        self.n_features_out_ = int(reference.embeddings.shape[1])
        return self

    def transform(self, X: Iterable[Source]) -> Floats32:
        """Return the embeddings (n, d) of pictures: paths, the bytes of files, or (h, w, 3) uint8.

        Raises:
            ImageError: One cannot be read.
        """
        reference = self._load(self.digest_)
        size, bits = reference.transform.resize, reference.transform.sample_bits
        rows = [reference.encoder(pixels) for pixels in read_all(X, size, bits)]
        return np.array(rows, np.float32).reshape(len(rows), self.n_features_out_)

    def get_feature_names_out(self, input_features: Any = None) -> Any:  # noqa: ARG002
        """Return the names of the columns."""
        return np.array([f"embedding{i}" for i in range(self.n_features_out_)], dtype=object)

    def _load(self, digest: str | None) -> Reference:
        """Return the reference, which is not kept in this object: it is saved by its digest."""
        loaded: Reference | None = getattr(self, "_reference", None)
        if loaded is None or (digest is not None and loaded.digest != digest):
            loaded = self._reference = load_reference(Path(self.storage).resolve(), digest)
        return loaded

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {key: value for key, value in state.items() if key != "_reference"}
