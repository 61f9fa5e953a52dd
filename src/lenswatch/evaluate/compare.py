"""Two samples of embeddings: do they come from one distribution?

The two tests of the DriftWatch tutorials: a Kolmogorov-Smirnov test in each dimension with Bonferroni's
correction, and a classifier that is trained to tell the samples apart (its AUC is about 0.5 when it
cannot). Both take the pictures as independent; neighbouring frames of a video are not, see
docs/compare.md.
"""

from __future__ import annotations

import math
import warnings
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import count, cycle
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from lenswatch.detect.arrays import Floats
from lenswatch.errors import EmbeddingError
from lenswatch.evaluate.page import COLOURS, plot, render

__all__ = ["FEWEST", "Comparison", "compare", "domain_classifier_auc", "html_report", "interleaved"]


_FOLDS = 2
FEWEST = 2 * _FOLDS  # pictures, or embeddings, of each side
_SHARED = "#15242c"  # colour of a line that belongs to several folders
_RIDGE = 0.1  # of the mean variance, added to the covariance


@dataclass(frozen=True)
class Comparison:
    """Results of the two tests.

    Attributes:
        reference: Size of the reference sample.
        current: Size of the current sample.
        p_values: Of the KS test, one for each dimension.
        distances: Of the KS test, one for each dimension.
        alpha: Level asked for over all dimensions.
        critical_distance: Distance above which a dimension is drift, between the two possible distances
            where the p-value crosses alpha / dimensions; None when no distance is drift.
        drift: True if a p-value is below alpha / dimensions.
        auc: Area under the ROC curve of the domain classifier, cross-validated.
    """

    reference: int
    current: int
    p_values: tuple[float, ...]
    distances: tuple[float, ...]
    alpha: float
    critical_distance: float | None
    drift: bool
    auc: float

    @property
    def corrected_p_value(self) -> float:
        """Smallest p-value times the number of dimensions, at most 1."""
        return min(1.0, min(self.p_values) * len(self.p_values))

    @property
    def smallest_p_value(self) -> float:
        """Corrected p-value of samples that do not overlap: no smaller one is possible."""
        return _smallest_p_value(self.reference, self.current, len(self.p_values))

    @property
    def conclusive(self) -> bool:
        """True if there are enough pictures for any difference to be drift."""
        return self.critical_distance is not None

    @property
    def fewest(self) -> int:
        """Pictures that the current sample needs for a conclusion."""
        n, d = self.reference, len(self.p_values)
        return next(m for m in count(FEWEST) if _smallest_p_value(n, m, d) < self.alpha)

    @property
    def verdict(self) -> str:
        """Verdict of the KS test in words."""
        if not self.conclusive:
            return "too few pictures to conclude"
        return "drift" if self.drift else "no drift"

    def to_json(self) -> dict[str, Any]:
        """Return all figures as a JSON object."""
        more = {"corrected_p_value": self.corrected_p_value, "conclusive": self.conclusive}
        return asdict(self) | more


def compare(reference: ArrayLike, current: ArrayLike, alpha: float = 0.05) -> Comparison:
    """Compare embeddings (n, d) and (m, d).

    >>> rng = np.random.default_rng(0)
    >>> clean, shifted = rng.normal(size=(200, 8)), rng.normal(1, 1, size=(50, 8))
    >>> compare(clean, shifted).verdict
    'drift'
    >>> compare(clean[:4], clean[4:8]).verdict
    'too few pictures to conclude'

    Raises:
        EmbeddingError: fewer than four in a sample, different dimensions, NaN or infinite values.
    """
    a, b = _checked("reference", reference), _checked("current", current)
    if a.shape[1] != b.shape[1]:
        raise EmbeddingError(
            f"embeddings of {a.shape[1]} and {b.shape[1]} dimensions; encode both folders alike"
        )
    tests = [_ks_test(x, y) for x, y in zip(a.T, b.T, strict=True)]
    p_values = tuple(float(t.pvalue) for t in tests)
    return Comparison(
        reference=len(a),
        current=len(b),
        p_values=p_values,
        distances=tuple(float(t.statistic) for t in tests),
        alpha=alpha,
        critical_distance=_critical_distance(len(a), len(b), alpha / len(p_values)),
        drift=min(p_values) < alpha / len(p_values),
        auc=domain_classifier_auc(a, b),
    )


def interleaved(
    embeddings: ArrayLike, size: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Split (n, d) embeddings at random into the rest and a sample of `size`, each in time order.

    Neighbours in time land on both sides.
    """
    values = np.asarray(embeddings, dtype=np.float64)
    order = rng.permutation(len(values))
    return values[np.sort(order[size:])], values[np.sort(order[:size])]


def domain_classifier_auc(reference: ArrayLike, current: ArrayLike) -> float:
    """Return the area under the ROC curve of a linear discriminant (Fisher 1936) between two samples.

    It is cross-validated in two folds of every other embedding; 0.5 when they cannot be told apart.
    """
    a, b = np.asarray(reference, np.float64), np.asarray(current, np.float64)
    areas = []
    for fold in range(_FOLDS):
        held = [np.arange(len(x)) % _FOLDS == fold for x in (a, b)]
        direction = _discriminant(a[~held[0]], b[~held[1]])
        areas.append(_area(a[held[0]] @ direction, b[held[1]] @ direction))
    return float(np.mean(areas))


def html_report(
    comparisons: Sequence[tuple[str, Comparison]], title: str = "Lenswatch: comparison"
) -> str:
    """Return a page of comparisons by name: text, a table and a plot of the distances."""
    columns = (
        "current",
        "pictures",
        "KS test",
        "corrected p",
        "largest distance",
        "drift above",
        "classifier AUC",
    )
    return render(
        "compare.html",
        title=title,
        alpha=comparisons[0][1].alpha,
        comparisons=comparisons,
        columns=columns,
        rows=[_row(name, c) for name, c in comparisons],
        plot=plot(_distances(comparisons), height=420),
    )


def _critical_distance(n: int, m: int, level: float) -> float | None:
    """Return the KS distance above which the p-value is below `level`, None if none is.

    Distances of two samples are multiples of the greatest common divisor of n and m, divided by n m.
    """
    step = math.gcd(n, m)
    possible = range(math.ceil((n + m) / (2 * step)) * step, n * m + 1, step)
    first = bisect_left(possible, True, key=lambda d: _at_distance(n, m, d).pvalue < level)
    if first == len(possible):
        return None
    pair = possible[first] - step, possible[first]
    return float(np.mean([_at_distance(n, m, d).statistic for d in pair]))


def _at_distance(n: int, m: int, distance: int) -> Any:
    """Test two samples whose KS distance is the largest possible one up to `distance` / (n m).

    The samples are positions in their common order. Before each of the second sample come as many of
    the first as keep the difference of the distribution functions within the distance. It must be
    (1/n + 1/m)/2 or more.
    """
    before = np.arange(m)
    second = before + np.minimum(n, (distance + before * n) // m)
    return _ks_test(np.setdiff1d(np.arange(n + m), second), second)


def _ks_test(a: Floats, b: Floats) -> Any:
    """Run the exact two-sample test.

    SciPy warns and takes the asymptotic p-value, which is about 1 too, when it rounds a p-value of 1 up.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ks_2samp: Exact calculation", RuntimeWarning)
        return stats.ks_2samp(a, b)


def _smallest_p_value(n: int, m: int, dimensions: int) -> float:
    """Return the smallest corrected p-value that samples of n and m values can have."""
    return min(1.0, dimensions * 2 / math.comb(n + m, n))


def _distances(comparisons: Sequence[tuple[str, Comparison]]) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure()
    for (name, c), colour in zip(comparisons, cycle(COLOURS), strict=False):
        order = np.argsort(-np.asarray(c.distances), kind="stable")
        figure.add_scatter(
            name=name,
            x=list(range(1, len(order) + 1)),
            y=[c.distances[k] for k in order],
            customdata=[int(k) + 1 for k in order],
            hovertemplate="dimension %{customdata}: %{y:.3f}",
            mode="lines+markers",
            line={"color": colour, "width": 1.5},
            marker={"size": 6},
        )
    levels = [c.critical_distance for _, c in comparisons if c.critical_distance is not None]
    for (_, c), colour in zip(comparisons, cycle(COLOURS), strict=False):
        if c.critical_distance is not None:
            own = levels.count(c.critical_distance) == 1
            colour = colour if own else _SHARED
            figure.add_hline(c.critical_distance, line_dash="dash", line_color=colour)
    figure.update_layout(xaxis_title="dimensions, most different first", yaxis_title="KS distance")
    figure.update_yaxes(range=[0, 1.03])
    return figure


def _row(name: str, c: Comparison) -> tuple[str, ...]:
    return (
        name,
        f"{c.current} against {c.reference}",
        c.verdict,
        f"{c.corrected_p_value:.2g}",
        f"{max(c.distances):.3f}",
        "-" if c.critical_distance is None else f"{c.critical_distance:.3f}",
        f"{c.auc:.2f}",
    )


def _discriminant(a: Floats, b: Floats) -> Floats:
    within = (np.cov(a.T) * len(a) + np.cov(b.T) * len(b)) / (len(a) + len(b))
    within = np.atleast_2d(within)
    ridge = _RIDGE * np.trace(within) / len(within) + 1e-12
    solution: Floats = np.linalg.solve(
        within + ridge * np.eye(len(within)), b.mean(axis=0) - a.mean(axis=0)
    )
    return solution


def _area(a: Floats, b: Floats) -> float:
    """Return P(b > a) + P(b = a)/2, by ranks (Mann and Whitney 1947)."""
    ranks = stats.rankdata(np.concatenate([a, b]))
    return float((ranks[len(a) :].sum() - len(b) * (len(b) + 1) / 2) / (len(a) * len(b)))


def _checked(name: str, values: ArrayLike) -> Floats:
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < FEWEST:
        raise EmbeddingError(
            f"the {name} embeddings have shape {rows.shape}; (n, d) with n >= {FEWEST} is needed"
        )
    if not np.isfinite(rows).all():
        raise EmbeddingError(
            f"the {name} embeddings hold NaN or infinite values; encode that picture again or leave it out"
        )
    return rows
