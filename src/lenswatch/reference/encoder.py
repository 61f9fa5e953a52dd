"""The encoder of a reference as its users see it: pixels in, an embedding out."""

from __future__ import annotations

from typing import Protocol

from lenswatch.detect.arrays import Floats32, Pixels

__all__ = ["Encoder"]


class Encoder(Protocol):
    """A function of a picture's pixels, (height, width, 3) uint8, that returns its embedding, (d,) float32.

    The same pixels have the same embedding, bit for bit, in every process of a machine.
    """

    def __call__(self, pixels: Pixels, /) -> Floats32:
        """Return the embedding of a picture."""
        ...

    def weights(self) -> bytes:
        """Return the content of `autoencoder.pth`."""
        ...
