"""Metrics of alerts: deliveries by their state."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from lenswatch.server.db.database import Database
from lenswatch.server.db.tables import DELIVERY_STATES, channels, deliveries
from lenswatch.server.jobs.gauge_names import Names

__all__ = ["AlertGauges"]


class AlertGauges(Collector):
    """Deliveries that are stored, by experiment, kind of channel and state.

    Args:
        database: The database.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def collect(self) -> Iterator[Metric]:
        """Yield the metric: a gauge, since old deliveries are deleted.

        Each channel has all states from its creation on, so that the first failure is an increase.
        """
        kind = (deliveries.c.experiment, deliveries.c.channel_kind, deliveries.c.state)
        query = select(*kind, func.count()).group_by(*kind).order_by(*kind)
        used = select(channels.c.experiment, channels.c.kind).distinct()
        with self.database.read() as connection:
            names = Names(connection)
            found = {row[:3]: row[3] for row in connection.execute(query)}
            kinds = {tuple(row) for row in connection.execute(used)} | {key[:2] for key in found}
        family = GaugeMetricFamily(
            "lenswatch_alert_deliveries",
            "Deliveries of alerts of the last 90 days.",
            labels=("experiment", "kind", "state"),
        )
        for number, channel in sorted(kinds):
            for state in DELIVERY_STATES:
                labels = (names.experiment(number), channel, state)
                family.add_metric(labels, found.get((number, channel, state), 0))
        yield family
