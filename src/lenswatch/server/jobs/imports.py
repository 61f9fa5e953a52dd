"""Import of experiments and jobs of another DriftWatch server, with their ids and dates.

It can be repeated: what is there already is compared, and updated where the source has changed. Batches are
transactions of their own, so an interrupted import has stored whole batches.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import tzinfo
from typing import Any

from sqlalchemy import Connection, delete, select

from lenswatch.errors import ServerError
from lenswatch.server.db.database import Database, insert_into
from lenswatch.server.db.tables import drifts, experiments, import_positions
from lenswatch.server.experiments.api import create
from lenswatch.server.jobs import store
from lenswatch.server.jobs.import_records import Reader, Rejected
from lenswatch.server.values.refusals import Refusal
from lenswatch.server.values.storable import digest

__all__ = ["DONE", "Importer", "Item", "Rejection"]

BATCH = 500  # jobs of one transaction
DONE = "done"  # position of an experiment of which everything was read
_FIELDS = ("job_status", "model", "drift_detected", "tags", "parameters")


@dataclasses.dataclass(frozen=True)
class Item:
    """One record of a source.

    Attributes:
        place: Where it is, for reports: "line 7", or the page it came from.
        record: The JSON object; text where it could not be read as JSON.
        position: Where an interrupted import goes on, once this record is stored.
    """

    place: str
    record: Any
    position: str = ""


@dataclasses.dataclass(frozen=True)
class Rejection:
    """A record that was not stored."""

    place: str
    reason: str
    record: Any


class Importer:
    """Takes records into a database.

    Args:
        database: Ours.
        source: Name of the source, by which an interrupted import is found.
        zone: Zone of the source's clock; None if its times have offsets.
        reject: Called for each record that is not stored.
    """

    def __init__(
        self,
        database: Database,
        source: str,
        zone: tzinfo | None,
        reject: Callable[[Rejection], None],
    ) -> None:
        self.database = database
        self.source = source
        self.reader = Reader(zone)
        self.reject = reject
        self.counts: Counter[str] = Counter()

    @property
    def notes(self) -> Counter[str]:
        """Changes that were made on the way, each with its number of records."""
        return self.reader.notes

    def take_experiment(self, item: Item) -> int | None:
        """Store an experiment unless it is there, and return its number; None if it was rejected."""
        try:
            new = self.reader.experiment(item.record)
        except Rejected as rejected:
            self._rejected(item, str(rejected))
            return None
        with self.database.write() as connection:
            query = select(experiments).where(experiments.c.id == new["id"])
            known = connection.execute(query).mappings().first()
            if known is not None:
                self._compare(known, new)
                return int(known["number"])
            return self._create(connection, new)

    def _create(self, connection: Connection, new: dict[str, Any]) -> int:
        taken = select(experiments.c.number).where(experiments.c.name_digest == digest(new["name"]))
        if connection.execute(taken).first() is not None:
            renamed = f"{new['name']} (imported {new['id'][:8]})"
            self.notes[
                f"the name {new['name'][:80]!r} is taken: imported as {renamed[:100]!r}"
            ] += 1
            new = new | {"name": renamed}
        self.counts["experiments"] += 1
        return int(create(connection, new)["number"])

    def _compare(self, known: Mapping[Any, Any], new: Mapping[str, Any]) -> None:
        for name in ("name", "description", "public", "permissions", "created_at"):
            if known[name] != new[name]:
                self.notes[f"an experiment of ours is kept as it is, with another {name}"] += 1

    def take_jobs(self, experiment: int, items: Iterable[Item]) -> None:
        """Store the jobs of an experiment, update those that have changed, and leave the others."""
        for batch in self._batches(items):
            try:
                self._store(experiment, batch)
            except Refusal:
                raise ServerError("the experiment was deleted while its jobs came in") from None

    def _store(self, experiment: int, batch: list[tuple[Item, dict[str, Any]]]) -> None:
        with self.database.write() as connection:
            store.lock(connection, experiment)
            self._take(connection, experiment, batch)
            if last := next((i.position for i, _ in reversed(batch) if i.position), ""):
                self._note(connection, experiment, last)

    def _batches(self, items: Iterable[Item]) -> Iterator[list[tuple[Item, dict[str, Any]]]]:
        """Yield what can be stored, in batches without a repeated id."""
        batch: dict[str, tuple[Item, dict[str, Any]]] = {}
        for item in items:
            try:
                job = self.reader.job(item.record)
            except Rejected as rejected:
                self._rejected(item, str(rejected))
                continue
            if len(batch) == BATCH or job["id"] in batch:
                yield list(batch.values())
                batch = {}
            batch[job["id"]] = item, job
        if batch:
            yield list(batch.values())

    def _take(
        self, connection: Connection, experiment: int, batch: list[tuple[Item, dict[str, Any]]]
    ) -> None:
        ids = [job["id"] for _, job in batch]
        query = select(drifts).where(drifts.c.id.in_(ids))
        known = {row["id"]: row for row in connection.execute(query).mappings()}
        new = []
        for item, job in batch:
            if job["id"] not in known:
                new.append((item, job))
            else:
                self._update(connection, experiment, item, known[job["id"]], job)
        new.sort(key=lambda pair: pair[1]["created_at"])
        stored = store.adopt(connection, experiment, [job for _, job in new])
        for (item, _), (row, is_new) in zip(new, stored, strict=True):
            if is_new:
                self.counts["new"] += 1
            else:
                same = f"has the event id of the job {row['id']}, which is stored"
                self._rejected(item, f"parameters.event_id: {same}")

    def _update(
        self,
        connection: Connection,
        experiment: int,
        item: Item,
        row: store.Job,
        job: Mapping[str, Any],
    ) -> None:
        if row["experiment"] != experiment:
            self._rejected(item, f"the job {row['id']} is in another experiment here")
            return
        if row["created_at"] != job["created_at"]:
            self.notes["a job of ours keeps its date, which is another one"] += 1
        if all(row[name] == job[name] for name in _FIELDS) or _closed_here(row, job):
            self.counts["unchanged"] += 1
            return
        event = job["parameters"].get("event_id")
        if event != row["parameters"].get("event_id"):
            self._rejected(item, f"parameters.event_id has changed to {event!r}")
            return
        store.change(connection, row, {name: job[name] for name in _FIELDS})
        self.counts["changed"] += 1

    def _rejected(self, item: Item, reason: str) -> None:
        self.counts["rejected"] += 1
        self.reject(Rejection(item.place, reason, item.record))

    def position(self, experiment: int) -> str:
        """Return how far an interrupted import of this source has come in an experiment; "" at first."""
        with self.database.read() as connection:
            query = select(import_positions.c.position).where(
                import_positions.c.experiment == experiment,
                import_positions.c.source == self.source,
            )
            return connection.execute(query).scalar() or ""

    def end_experiment(self, experiment: int) -> None:
        """Remember that an experiment was read to its end."""
        with self.database.write() as connection:
            self._note(connection, experiment, DONE)

    def end(self) -> None:
        """Forget the positions: everything was read, and the next import begins anew."""
        with self.database.write() as connection:
            here = import_positions.c.source == self.source
            connection.execute(delete(import_positions).where(here))

    def _note(self, connection: Connection, experiment: int, position: str) -> None:
        row = {"experiment": experiment, "source": self.source, "position": position}
        put = insert_into(connection, import_positions).values(row)
        connection.execute(put.on_conflict_do_update(index_elements=["experiment"], set_=row))


def _closed_here(row: store.Job, job: Mapping[str, Any]) -> bool:
    """Return whether the only difference is that our server has closed a job that never ended."""
    error = row["parameters"].get("error")
    return (
        job["job_status"] == "Running"
        and isinstance(error, str)
        and error.startswith(store.CLOSED)
        and job["parameters"] == {k: v for k, v in row["parameters"].items() if k != "error"}
    )
