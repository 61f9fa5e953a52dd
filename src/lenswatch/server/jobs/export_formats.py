"""Formats of exported jobs: CSV, JSON Lines and Parquet, each written piece by piece."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from lenswatch.server.jobs import store
from lenswatch.server.values import stamps
from lenswatch.server.values.refusals import Refusal
from lenswatch.server.values.storable import written

__all__ = ["FORMATS", "Format", "make_format"]

Job = Mapping[Any, Any]
FORMATS = ("csv", "jsonl", "parquet")
_NUMBERS = (
    *("distance", "drift_distance", "warning_distance"),
    *("score", "drift_score", "warning_score"),
)
_BOOLEANS = ("warning", "can_alarm")
_GROUP_ROWS, _GROUP_BYTES = 20_000, 4 * 2**20  # of a row group of Parquet, whichever comes first
# Spreadsheets take text with such a beginning for a formula. Where ";" separates cells, one begins after it.
_FORMULA = re.compile(r"(?:\A|(?<=[;\t\r\n]))(?=[=+\-@\uff1d\uff0b\uff0d\uff20\t\r])")


class Format(Protocol):
    """A format that is written piece by piece."""

    media_type: str

    def begin(self, experiment: dict[str, Any], /) -> bytes:
        """Return what comes before the jobs of an experiment."""

    def write(self, jobs: Iterable[Job]) -> bytes:
        """Return what these jobs add, perhaps only later."""

    def end(self) -> bytes:
        """Return the rest."""


def make_format(name: str) -> Format:
    """Return a new writer of one of the FORMATS.

    Raises:
        Refusal: 501 if this installation cannot write it.
    """
    made: dict[str, type[Format]] = {"csv": Csv, "jsonl": JsonLines, "parquet": Parquet}
    return made[name]()


class JsonLines:
    """A line for the experiment and one for each job, which `lenswatch import` takes back unchanged."""

    media_type = "application/jsonl"

    def begin(self, experiment: dict[str, Any], /) -> bytes:
        return f"{written(experiment)}\n".encode()

    def write(self, jobs: Iterable[Job]) -> bytes:
        return "".join(f"{written(store.record(job))}\n" for job in jobs).encode()

    def end(self) -> bytes:
        return b""


class Csv:
    """Comma-separated values in UTF-8, with a heading.

    Tags and parameters are JSON. A text that a spreadsheet would take for a formula gets an apostrophe.
    """

    media_type = "text/csv; charset=utf-8; header=present"

    def begin(self, _experiment: dict[str, Any], /) -> bytes:
        return self._written([_COLUMNS])

    def write(self, jobs: Iterable[Job]) -> bytes:
        return self._written([_cell(value) for value in _values(job)] for job in jobs)

    def end(self) -> bytes:
        return b""

    def _written(self, rows: Iterable[Iterable[Any]]) -> bytes:
        target = io.StringIO()
        csv.writer(target).writerows(rows)
        return target.getvalue().encode()


class Parquet:
    """Parquet with types: times in UTC, numbers, truth values, tags as a list, parameters as JSON."""

    media_type = "application/vnd.apache.parquet"

    def __init__(self) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise Refusal(
                501,
                "This server cannot write Parquet: pip install 'lenswatch[parquet]' adds what it needs.",
            ) from None
        moment, text = pyarrow.timestamp("us", "UTC"), pyarrow.string()
        types = {"created_at": moment, "captured_at": moment, "tags": pyarrow.list_(text)}
        types |= dict.fromkeys(("drift_detected", "late", *_BOOLEANS), pyarrow.bool_())
        types |= dict.fromkeys(_NUMBERS, pyarrow.float64())
        self._arrow = pyarrow
        self._schema = pyarrow.schema([(name, types.get(name, text)) for name in _COLUMNS])
        self._sink = _Sink()
        self._file = pyarrow.parquet.ParquetWriter(self._sink, self._schema)
        self._group: list[list[Any]] = []
        self._bytes = 0

    def begin(self, _experiment: dict[str, Any], /) -> bytes:
        return self._sink.taken()

    def write(self, jobs: Iterable[Job]) -> bytes:
        for job in jobs:
            values = _values(job)
            self._group.append(values)
            self._bytes += len(values[-1])
        if len(self._group) >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._write_group()
        return self._sink.taken()

    def end(self) -> bytes:
        if self._group:
            self._write_group()
        self._file.close()
        return self._sink.taken()

    def _write_group(self) -> None:
        columns = [
            self._arrow.array(column, field.type)
            for column, field in zip(zip(*self._group, strict=True), self._schema, strict=True)
        ]
        table = self._arrow.Table.from_arrays(columns, schema=self._schema)
        self._file.write_table(table, row_group_size=len(self._group))
        self._group, self._bytes = [], 0


class _Sink(io.RawIOBase):
    """A file that keeps what is written until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(self._parts[-1])

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


_COLUMNS = (
    *("id", "created_at", "captured_at", "stream", "event_id", "job_status", "drift_detected"),
    *("late", *_BOOLEANS, *_NUMBERS, "model", "tags", "parameters"),
)


def _values(job: Job) -> list[Any]:
    """Return the values of a job's columns."""
    parameters = job["parameters"]
    return [
        job["id"],
        _moment(job["created_at"]),
        _captured(job),
        _text(parameters.get("stream")),
        _text(parameters.get("event_id")),
        job["job_status"],
        job["drift_detected"],
        job["late"],
        *(_typed(parameters.get(name), bool) for name in _BOOLEANS),
        *(_number(parameters.get(name)) for name in _NUMBERS),
        job["model"],
        job["tags"],
        written(parameters),
    ]


def _moment(stamp: int) -> datetime:
    return datetime.fromtimestamp(stamp // 10**6, UTC).replace(microsecond=stamp % 10**6)


def _captured(job: Job) -> datetime | None:
    text = job["parameters"].get("captured_at")
    stamp = stamps.capture(text, job["created_at"])
    return None if stamp is None else _moment(stamp)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _typed(value: Any, kind: type) -> Any:
    return value if isinstance(value, kind) else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None


def _cell(value: Any) -> Any:
    """Return a value as a cell of CSV."""
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat(timespec="microseconds")
        case list():
            return _harmless(json.dumps(value, ensure_ascii=False))
        case str():
            return _harmless(value)
    return value


def _harmless(text: str) -> str:
    """Return `text` with an apostrophe wherever a spreadsheet could see the beginning of a formula."""
    return _FORMULA.sub("'", text)
