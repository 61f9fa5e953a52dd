"""Values above 8 bits: their scaling to 8 bits, and the number of bits they seem to have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lenswatch.config import SampleBits

__all__ = ["WHOLE", "Depth", "bits_of"]

WHOLE: SampleBits = 16  # bits that a value has unless something else is known
_BITS: tuple[SampleBits, ...] = (10, 12, 14)  # that cameras put into 16 bits, unscaled


@dataclass(frozen=True)
class Depth:
    """Scaling of values above 8 bits.

    Attributes:
        bits: Bits that stand for the whole range from black to white.
        inverted: 0 is white.
    """

    bits: int = WHOLE
    inverted: bool = False

    @property
    def white(self) -> int:
        """The largest value of the range."""
        return (1 << self.bits) - 1

    def eight_bits(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Return values of any shape as 8 bits; those above the range are white."""
        found = np.minimum(values, self.white).astype(np.uint32)
        found *= 255
        found //= self.white
        shown = found.astype(np.uint8)
        return ~shown if self.inverted else shown


def bits_of(largest: int) -> SampleBits:
    """Return the fewest bits, of those that cameras have, that hold a value.

    >>> bits_of(4095), bits_of(4096), bits_of(70)
    (12, 14, 10)
    """
    return next((bits for bits in _BITS if largest < 1 << bits), WHOLE)
