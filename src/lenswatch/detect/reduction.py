"""A large reference reduced to few weighted samples, with a bound of the error.

The samples are chosen one after the other, each the one that lowers the error most, and all get the weights
that make it smallest: kernel herding with optimal weights (Huszar and Duvenaud 2012, "Optimally-Weighted
Herding is Bayesian Quadrature"). For a kernel with K(x, x) = 1 the error of a mean kernel is nowhere larger
than the distance between the two mean embeddings, which is computed exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lenswatch.detect.arrays import Floats

__all__ = ["Reduction", "reduced"]

Kernel = Callable[[Floats, Floats], Floats]

CANDIDATES = 2000  # samples to choose from, evenly spaced
ROWS = 64  # of a kernel matrix held in memory at a time
_DEPENDENT = 1e-10  # squared distance from what was chosen, below which a sample adds nothing


@dataclass(frozen=True)
class Reduction:
    """Weighted samples that stand for a whole reference.

    Attributes:
        samples: (k, d) float64, rows of the reference.
        weights: (k,) float64.
        bound: Largest error that a mean kernel to the reference can have.
    """

    samples: Floats
    weights: Floats
    bound: float

    def mean_kernel(self, kernel: Kernel, row: Floats) -> float:
        """Return the mean kernel between (d,) and the reference, within the bound."""
        return float(kernel(row[None], self.samples)[0] @ self.weights)


def reduced(reference: Floats, kernel: Kernel, mean_kernel: float, most: int) -> Reduction:
    """Choose samples that stand for a reference.

    Args:
        reference: (n, d) float64, n >= 2.
        kernel: Function of (a, d) and (b, d) that returns (a, b), with K(x, x) = 1.
        mean_kernel: Mean of it over pairs of different samples.
        most: Largest number of samples; fewer when more would not lower the error.
    """
    n = len(reference)
    choice = reference[:: -(-n // CANDIDATES)]
    blocks = range(0, len(choice), ROWS)
    aim = np.concatenate([kernel(choice[i : i + ROWS], reference).mean(axis=1) for i in blocks])
    chosen = _chosen(choice, kernel, aim, most)
    samples = choice[chosen]
    within = kernel(samples, samples)
    weights = np.linalg.lstsq(within, aim[chosen], rcond=_DEPENDENT)[0]
    whole = (mean_kernel * n * (n - 1) + n) / n**2  # mean over all pairs
    squared = whole - 2 * weights @ aim[chosen] + weights @ within @ weights
    return Reduction(samples, weights, math.sqrt(max(float(squared), 0.0)))


def _chosen(choice: Floats, kernel: Kernel, aim: Floats, most: int) -> list[int]:
    """Return the rows of the chosen samples, by the Newton basis of those before them.

    Args:
        choice: (c, d), samples to choose from.
        kernel: The kernel.
        aim: (c,), mean kernel of each to the reference.
        most: Largest number of samples.
    """
    basis = np.empty((min(most, len(choice)), len(choice)))
    left, apart, chosen = aim.copy(), np.ones(len(choice)), list[int]()
    for i in range(len(basis)):
        gain = np.where(apart > _DEPENDENT, left**2 / np.maximum(apart, _DEPENDENT), -1)
        best = int(gain.argmax())
        if gain[best] < 0:
            break
        column = kernel(choice[best][None], choice)[0] - basis[:i, best] @ basis[:i]
        basis[i] = column / math.sqrt(apart[best])
        left -= left[best] / math.sqrt(apart[best]) * basis[i]
        apart -= basis[i] ** 2
        apart[best] = 0
        chosen.append(best)
    return chosen
