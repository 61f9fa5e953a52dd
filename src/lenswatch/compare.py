"""Two folders of pictures as two samples of embeddings: do they come from one distribution?

The lab of the DriftWatch tutorials: a Kolmogorov-Smirnov test in each dimension with Bonferroni's
correction, and a classifier that is trained to tell the samples apart (its AUC is about 0.5 when it
cannot). Both take the pictures as independent; neighbouring frames of a video are not, see
docs/compare.md.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from lenswatch.errors import EmbeddingError

__all__ = ["Comparison", "compare", "domain_classifier_auc", "html_report", "interleaved"]

Floats = NDArray[np.float64]

_FOLDS = 2
_RIDGE = 0.1  # of the mean variance, added to the covariance


@dataclass(frozen=True)
class Comparison:
    """What the two tests say.

    Attributes:
        reference, current: sizes of the samples.
        p_values, distances: of the KS test, one for each dimension.
        alpha: the level asked for over all dimensions.
        drift: whether a p-value is below alpha / dimensions.
        auc: of the domain classifier, cross-validated.
    """

    reference: int
    current: int
    p_values: tuple[float, ...]
    distances: tuple[float, ...]
    alpha: float
    drift: bool
    auc: float

    @property
    def corrected_p_value(self) -> float:
        """The smallest p-value times the number of dimensions, at most 1."""
        return min(1.0, min(self.p_values) * len(self.p_values))

    def to_json(self) -> dict[str, Any]:
        """All of it, for files and programs."""
        return asdict(self) | {"corrected_p_value": self.corrected_p_value}


def compare(reference: ArrayLike, current: ArrayLike, alpha: float = 0.05) -> Comparison:
    """Compare embeddings (n, d) and (m, d).

    Raises:
        EmbeddingError: fewer than four in a sample, different dimensions, NaN or infinite values.
    """
    a, b = _checked("reference", reference), _checked("current", current)
    if a.shape[1] != b.shape[1]:
        raise EmbeddingError(
            f"embeddings of {a.shape[1]} and {b.shape[1]} dimensions; encode both folders alike"
        )
    tests = [stats.ks_2samp(x, y) for x, y in zip(a.T, b.T, strict=True)]
    p_values = tuple(float(t.pvalue) for t in tests)
    return Comparison(
        reference=len(a),
        current=len(b),
        p_values=p_values,
        distances=tuple(float(t.statistic) for t in tests),
        alpha=alpha,
        drift=min(p_values) < alpha / len(p_values),
        auc=domain_classifier_auc(a, b),
    )


def interleaved(
    embeddings: ArrayLike, size: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """`size` embeddings drawn at random, and the rest: neighbours in time land on both sides."""
    values = np.asarray(embeddings, dtype=np.float64)
    order = rng.permutation(len(values))
    return values[np.sort(order[size:])], values[np.sort(order[:size])]


def domain_classifier_auc(reference: ArrayLike, current: ArrayLike) -> float:
    """Area under the ROC curve of a linear discriminant (Fisher 1936) between two samples.

    Cross-validated in two folds of every other embedding; 0.5 when they cannot be told apart.
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
    """A page that needs nothing else: a table and a plot of the distances, plotly.js inside it."""
    import plotly.graph_objects as go

    figure = go.Figure(
        [
            go.Bar(name=name, x=list(range(1, len(c.distances) + 1)), y=list(c.distances))
            for name, c in comparisons
        ]
    )
    figure.update_layout(
        title="KS distance in each dimension of the embedding",
        xaxis_title="dimension",
        yaxis_title="distance",
        template="plotly_white",
    )
    plot = figure.to_html(full_html=False, include_plotlyjs=True)
    rows = "".join(_row(name, c) for name, c in comparisons)
    heading = html.escape(title)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{heading}</title>'
        "<style>body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "table{border-collapse:collapse}td,th{padding:.3rem .8rem;border-bottom:1px solid #ccc;"
        f"text-align:right}}td:first-child,th:first-child{{text-align:left}}</style></head>"
        f"<body><h1>{heading}</h1><table><thead><tr><th>current</th><th>pictures</th>"
        "<th>drift (KS)</th><th>corrected p</th><th>largest distance</th><th>classifier AUC</th>"
        f"</tr></thead><tbody>{rows}</tbody></table>{plot}</body></html>"
    )


def _row(name: str, c: Comparison) -> str:
    cells = (
        html.escape(name),
        f"{c.reference} / {c.current}",
        "yes" if c.drift else "no",
        f"{c.corrected_p_value:.3g}",
        f"{max(c.distances):.3f}",
        f"{c.auc:.3f}",
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _discriminant(a: Floats, b: Floats) -> Floats:
    within = (np.cov(a.T) * len(a) + np.cov(b.T) * len(b)) / (len(a) + len(b))
    within = np.atleast_2d(within)
    ridge = _RIDGE * np.trace(within) / len(within) + 1e-12
    solution: Floats = np.linalg.solve(
        within + ridge * np.eye(len(within)), b.mean(axis=0) - a.mean(axis=0)
    )
    return solution


def _area(a: Floats, b: Floats) -> float:
    """P(b > a) + P(b = a)/2, by ranks (Mann and Whitney 1947)."""
    ranks = stats.rankdata(np.concatenate([a, b]))
    return float((ranks[len(a) :].sum() - len(b) * (len(b) + 1) / 2) / (len(a) * len(b)))


def _checked(name: str, values: ArrayLike) -> Floats:
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < 2 * _FOLDS:
        raise EmbeddingError(
            f"the {name} embeddings have shape {rows.shape}; (n, d) with n >= {2 * _FOLDS} is needed"
        )
    if not np.isfinite(rows).all():
        raise EmbeddingError(f"the {name} embeddings hold NaN or infinite values")
    return rows
