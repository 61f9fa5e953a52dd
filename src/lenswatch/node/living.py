"""The baseline of a stream as a picture meets it: which chart judges, and whether the picture is kept.

Both are single rows of `node.db`. Fitting happens elsewhere (`node.renewing`), never here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from lenswatch.detect.chart.baseline import MARGIN, SPACING
from lenswatch.detect.chart.chart import LensChart
from lenswatch.detect.chart.features import Measured
from lenswatch.detect.chart.fitting import ChartFit
from lenswatch.detect.chart.witness import Testimony, Witness
from lenswatch.detect.thresholds import Threshold
from lenswatch.errors import LenswatchError
from lenswatch.node.calibration_file import Calibration
from lenswatch.node.judge import Judge
from lenswatch.node.kept_pictures import SECONDS_A_DAY, pack
from lenswatch.node.store import baselines as rows
from lenswatch.node.store.baselines import KeptRow, StreamBaseline
from lenswatch.node.stream import StreamState

__all__ = ["Living", "document_for", "lives", "origin_of", "with_document"]

log = logging.getLogger(__name__)

_SPACING = SPACING * SECONDS_A_DAY


@dataclass(frozen=True)
class _InForce:
    origin: str
    baseline: int
    judge: Judge


class Living:
    """The baselines in force of all streams of a node, for any number of threads."""

    def __init__(self) -> None:
        self._judges: dict[str, _InForce] = {}
        self._newest: dict[str, float] = {}  # capture time of each stream's newest kept picture

    def judged_by(self, connection: sa.Connection, judge: Judge, stream: str) -> Judge:
        """Return the judge with the baseline in force.

        Args:
            connection: A connection to the node's database.
            judge: The judge that the calibration makes.
            stream: The stream.
        """
        if not lives(judge):
            return judge
        row = rows.stream_baseline(connection, stream)
        if row is None or row.origin != origin_of(judge):
            return judge
        present = self._with_chart(connection, row, judge)
        testimony = None if row.testimony is None else Testimony(**json.loads(row.testimony))
        return replace(present, testimony=testimony, holds=row.evenings > 0)

    def chart(self, stream: str, calibrated: LensChart | None) -> LensChart | None:
        """Return the chart that a stream's next picture is most likely judged with.

        Args:
            stream: The stream.
            calibrated: The chart of its calibration.
        """
        kept = self._judges.get(stream)
        return calibrated if kept is None or calibrated is None else kept.judge.chart

    def keep(
        self,
        connection: sa.Connection,
        judge: Judge,
        state: StreamState,
        measured: Measured | None,
        answer: Mapping[str, Any],
        now: float,
    ) -> None:
        """Keep a judged picture for renewals if it is its turn, and note a drift.

        Args:
            connection: The transaction that records the picture.
            judge: The judge that the calibration of its stream makes.
            state: State of its stream after it.
            measured: Its measurements.
            answer: The answer, with `stream` and `captured_at`.
            now: Present time in seconds since 1970.
        """
        if measured is None or not lives(judge):
            return
        stream, number = str(answer["stream"]), state.pictures
        if state.since_drift == 0:
            rows.mark_loud(connection, stream, number - MARGIN, number)
        at = datetime.fromisoformat(str(answer["captured_at"])).timestamp()
        if at - self._newest.get(stream, -_SPACING) < _SPACING:
            return
        newest = rows.last_kept(connection, stream)
        if newest is not None and 0 <= at - newest < _SPACING:
            self._newest[stream] = newest
            return
        quiet = state.since_drift > MARGIN
        rows.keep_picture(connection, stream, KeptRow(number, at, quiet, pack(measured)))
        self._newest[stream] = at
        known = rows.stream_baseline(connection, stream)
        if known is None or known.origin != origin_of(judge):
            begun = StreamBaseline(stream, origin_of(judge), 0, 0, now, 0, at, None, "")
            rows.put_stream(connection, begun)

    def _with_chart(self, connection: sa.Connection, row: StreamBaseline, judge: Judge) -> Judge:
        if row.in_force == 0:
            return judge
        kept = self._judges.get(row.stream)
        if kept is not None and (kept.origin, kept.baseline) == (row.origin, row.in_force):
            return kept.judge
        document = rows.document_of(connection, row.in_force)
        found, damage = judge, None
        try:
            found = judge if document is None else with_document(judge, json.loads(document))
        except (LenswatchError, ValueError, KeyError) as error:
            damage = error
        if damage is not None:
            log.warning("stream %s: its renewed baseline is damaged (%s)", row.stream, damage)
        self._judges[row.stream] = _InForce(row.origin, row.in_force, found)
        return found


def lives(judge: Judge) -> bool:
    """Return True if the baseline of a stream with this judge can be renewed."""
    alarm = judge.alarm
    decides = alarm.baseline == "daily" and alarm.drift_distance is None
    return decides and judge.chart is not None and "witness" in judge.calibration.details


def with_document(judge: Judge, document: Mapping[str, Any]) -> Judge:
    """Return the judge with the chart and thresholds of a renewed baseline.

    Raises:
        ArtefactError: the document is damaged.
        KeyError: it lacks something.
    """
    found = {name: Threshold.from_json(document["thresholds"][name]) for name in ("chart", "slow")}
    thresholds = {**judge.calibration.thresholds, **found}
    calibration: Calibration = replace(
        judge.calibration, chart=document["chart"], thresholds=thresholds
    )
    return Judge.of(calibration, judge.alarm)


def document_for(fit: ChartFit, witness: Witness | None) -> str:
    """Return a fitted baseline, and the witness if it has one of its own, as `with_document` reads it."""
    document: dict[str, Any] = {
        "chart": fit.chart.to_json(),
        "thresholds": {"chart": fit.threshold.to_json(), "slow": fit.slow.to_json()},
    }
    if witness is not None:
        document["witness"] = witness.to_json()
    return json.dumps(document)


def origin_of(judge: Judge) -> str:
    """Return the name of the calibration to which baselines belong: its chart, and when it was made."""
    assert judge.calibration.chart is not None  # it lives
    return f"{judge.calibration.chart['digest']} {judge.calibration.created_at}"
