"""Two folders of pictures as two samples of embeddings: do they come from one distribution?

The lab of the DriftWatch tutorials: a Kolmogorov-Smirnov test in each dimension with Bonferroni's
correction, and a classifier that is trained to tell the samples apart (its AUC is about 0.5 when it
cannot). Both take the pictures as independent; neighbouring frames of a video are not, see
docs/compare.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from lenswatch.detect.arrays import Floats
from lenswatch.errors import EmbeddingError
from lenswatch.evaluate.page import COLOURS, page, paragraph, plot, section, table

__all__ = [
    "Comparison",
    "compare",
    "critical_distance",
    "domain_classifier_auc",
    "html_report",
    "interleaved",
]


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
    """A page that needs nothing else: a table, and a plot of the distances, in words too."""
    columns = (
        "current",
        "pictures",
        "drift by KS",
        "corrected p",
        "largest distance",
        "classifier AUC",
    )
    return page(
        title,
        paragraph(
            "Each row compares one folder of pictures with the reference folder, by their "
            "embeddings. Drift by KS: in some dimension of the embedding, the two samples "
            "differ more than chance explains (Kolmogorov-Smirnov, corrected p below "
            f"{comparisons[0][1].alpha:g}). Classifier AUC: how well a classifier tells the two "
            "apart; about 0.5 is not at all, 1 is always."
        ),
        paragraph(
            "Both take pictures as independent. Neighbouring frames of a video are not: two "
            "stretches of the same clean camera may well count as drift here. It is a way to "
            "look at pictures, and no alarm."
        ),
        table(columns, (_row(name, c) for name, c in comparisons)),
        section(
            "Distance in each dimension of the embedding",
            paragraph(
                "The largest difference between the two distribution functions: 0 is the same, "
                "1 is no overlap. Above the dashed line it is drift. For each folder, its most "
                "different dimension is on the left."
            ),
            plot(_distances(comparisons), height=420, first=True),
        ),
    )


def critical_distance(c: Comparison) -> float:
    """The KS distance from which on a dimension is drift, by the asymptotic distribution."""
    size = round(c.reference * c.current / (c.reference + c.current))
    return float(stats.kstwo.isf(c.alpha / len(c.distances), size))


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
    for level in sorted({round(critical_distance(c), 3) for _, c in comparisons}):
        figure.add_hline(y=level, line_dash="dash", line_color="#c0341d", line_width=1.5)
    figure.update_layout(xaxis_title="dimensions, most different first", yaxis_title="KS distance")
    figure.update_yaxes(range=[0, 1.03])
    return figure


def _row(name: str, c: Comparison) -> tuple[str, ...]:
    return (
        name,
        f"{c.current} against {c.reference}",
        "yes" if c.drift else "no",
        f"{c.corrected_p_value:.2g}",
        f"{max(c.distances):.2f}",
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
    """P(b > a) + P(b = a)/2, by ranks (Mann and Whitney 1947)."""
    ranks = stats.rankdata(np.concatenate([a, b]))
    return float((ranks[len(a) :].sum() - len(b) * (len(b) + 1) / 2) / (len(a) * len(b)))


def _checked(name: str, values: ArrayLike) -> Floats:
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < 2 * _FOLDS:
        raise EmbeddingError(
            f"the {name} embeddings have shape {rows.shape}; (n, d) with n >= {2 * _FOLDS} is "
            "needed"
        )
    if not np.isfinite(rows).all():
        raise EmbeddingError(f"the {name} embeddings hold NaN or infinite values")
    return rows
