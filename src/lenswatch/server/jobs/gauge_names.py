"""The names under which metrics show experiments and streams: those that people see, each only once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from sqlalchemy import Connection, select

from lenswatch.server.db.tables import experiments, streams

__all__ = ["Names"]

_K = TypeVar("_K")
LONGEST = 100  # characters; the name of an experiment may be much longer


class Names:
    """The names as one transaction sees them.

    Two streams of an experiment may have the same title. The second one then has its stream behind it, since
    two lines of metrics with the same labels are an error to Prometheus.
    """

    def __init__(self, connection: Connection) -> None:
        query = select(experiments.c.number, experiments.c.id, experiments.c.name)
        rows = connection.execute(query.order_by(experiments.c.number)).all()
        self.ids = {row.number: row.id for row in rows}
        self._experiments = _different({row.number: (row.name, row.id[:8]) for row in rows})
        titled = select(streams.c.experiment).where(streams.c.title.is_not(None))
        query = select(streams.c.experiment, streams.c.stream, streams.c.title)
        found: dict[int, dict[str, tuple[str, str]]] = {}
        here = query.where(streams.c.experiment.in_(titled))
        for number, stream, title in connection.execute(here.order_by(*query.selected_columns[:2])):
            found.setdefault(number, {})[stream] = (title or stream, stream)
        self._streams = {number: _different(names) for number, names in found.items()}

    def experiment(self, number: int) -> str:
        """Return the name of an experiment."""
        return self._experiments[number]

    def stream(self, number: int, stream: str) -> str:
        """Return the name of a stream of an experiment; empty for jobs without a stream."""
        return self._streams.get(number, {}).get(stream, stream)


def _different(names: Mapping[_K, tuple[str, str]]) -> dict[_K, str]:
    """Return each wanted name, cut off, with its addition where another has that name already."""
    used: set[str] = set()
    different = {}
    for key, (wanted, addition) in names.items():
        name = wanted[:LONGEST]
        while name in used:
            name = f"{name} ({addition})"
        used.add(name)
        different[key] = name
    return different
