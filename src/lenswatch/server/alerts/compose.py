"""A message as it is sent: the facts that were stored, with the pictures that are there now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from lenswatch.server.alerts.messages import Message, Picture, Statement, moment
from lenswatch.server.db.tables import drifts, experiments, messages, pictures
from lenswatch.server.jobs.reference_pictures import find_nearest
from lenswatch.server.values import stamps

__all__ = ["Composer"]

PICTURED = 4  # statements of a message that carry pictures

Row = Mapping[Any, Any]


@dataclass(frozen=True)
class Composer:
    """Makes messages with links that begin with `address`, the server's own."""

    address: str

    def compose(self, connection: Connection, delivery: Row) -> Message:
        """Return the message of a delivery, a row of `deliveries`."""
        query = (
            select(
                messages, experiments.c.id.label("owner"), experiments.c.name.label("owner_name")
            )
            .join(experiments, experiments.c.number == messages.c.experiment)
            .where(messages.c.number == delivery["message"])
        )
        row = connection.execute(query).mappings().one()
        page = f"{self.address}/experiment/{row['owner']}"
        statements = [
            self._statement(connection, item, page, row, pictured=n < PICTURED)
            for n, item in enumerate(row["facts"])
        ]
        return Message(
            id=delivery["id"],
            created_at=row["created_at"],
            experiment={"id": row["owner"], "name": row["owner_name"]},
            rule=row["rule_name"],
            statements=statements,
            link=statements[0].link if len(statements) == 1 else page,
        )

    def _statement(
        self,
        connection: Connection,
        item: Mapping[str, Any],
        page: str,
        row: Row,
        *,
        pictured: bool,
    ) -> Statement:
        event = item.get("event")
        link = f"{page}/event/{event}" if event else page
        job = item.get("job")
        found = _picture(connection, job) if pictured and job is not None else None
        if found is None:
            return Statement(item, link)
        shown = [Picture("picture", _caption(item, found, row["created_at"]), found["data"])]
        clean = find_nearest(connection, row["experiment"], found["parameters"])
        if clean is not None and item["what"] != "recovery":
            shown.append(Picture("nearest clean", f"{item['name']}, the nearest clean one", clean))
        return Statement(item, link, shown, found["id"])


def _picture(connection: Connection, job: int) -> Row | None:
    query = (
        select(drifts.c.id, drifts.c.created_at, drifts.c.parameters, pictures.c.data)
        .join(pictures, pictures.c.drift == drifts.c.number)
        .where(drifts.c.number == job)
    )
    return connection.execute(query).mappings().first()


def _caption(item: Mapping[str, Any], found: Row, now: int) -> str:
    taken = stamps.capture(found["parameters"].get("captured_at"), found["created_at"])
    return f"{item['name']}, {moment(found['created_at'] if taken is None else taken, now)}"
