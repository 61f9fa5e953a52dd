"""Where records come from: a file of JSON Lines, or a running DriftWatch server by its contract."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx

from lenswatch.errors import InputError, ServerError
from lenswatch.server.identity.fetching import tls_context
from lenswatch.server.jobs.import_records import Reader, Rejected
from lenswatch.server.jobs.imports import DONE, Importer, Item, Rejection

__all__ = ["Origin", "import_file", "import_from"]

PAGE = 100  # records, the most that the contract gives
_TRIES, _PAUSE_SECONDS = 4, 1.0  # of a request that fails; the pause doubles
_TIMEOUT_SECONDS = 60.0


def import_file(path: Path, importer: Importer) -> None:
    """Take in a file with a JSON object on each line: experiments, each followed by its jobs."""
    experiment: int | None = None
    jobs: list[Item] = []
    with path.open(encoding="utf-8", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            item = _item(importer, f"line {number}", line)
            if (
                isinstance(item.record, dict)
                and "job_status" not in item.record
                and "name" in item.record
            ):
                _take(importer, experiment, jobs)
                experiment = importer.take_experiment(item)
            elif item.record is not None:
                jobs.append(item)
            if len(jobs) >= PAGE:
                _take(importer, experiment, jobs)
    _take(importer, experiment, jobs)


def _item(importer: Importer, place: str, line: str) -> Item:
    try:
        return Item(place, importer.reader.parse(line))
    except Rejected as rejected:
        importer.counts["rejected"] += 1
        importer.reject(Rejection(place, str(rejected), line.rstrip("\n")))
        return Item(place, None)


def _take(importer: Importer, experiment: int | None, jobs: list[Item]) -> None:
    """Store the jobs that were read, and empty the list."""
    if experiment is None:
        for item in jobs:
            importer.counts["rejected"] += 1
            reason = "no experiment: none is on a line before it, or that one was rejected"
            importer.reject(Rejection(item.place, reason, item.record))
    else:
        importer.take_jobs(experiment, jobs)
    jobs.clear()


class Origin:
    """A running DriftWatch server, original or ours.

    Args:
        url: Its address, with or without `/api/VERSION`.
        token: An access token or API key; "" for none.

    Raises:
        InputError: The address is none.
    """

    def __init__(self, url: str, token: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"{url!r} is neither a file nor the address of a server")
        self.url = url.rstrip("/")
        base = self.url if "/api/" in self.url else f"{self.url}/api/v1"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"Accept": "application/json"}
        self._client = httpx.Client(
            base_url=base, headers=headers, timeout=_TIMEOUT_SECONDS, verify=tls_context()
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def experiments(self, reader: Reader) -> Iterator[dict[str, Any]]:
        """Yield all experiments that the token may read, the oldest first."""
        yield from self._from("/experiment/search", "", reader)

    def jobs(self, experiment: str, after: str, reader: Reader) -> Iterator[Item]:
        """Yield the jobs of an experiment in the order of `created_at`, from the moment `after` on."""
        path = f"/experiment/{experiment}/drift/search"
        for record in self._from(path, after, reader):
            place = f"{experiment}/drift/{str(record.get('id'))[:36]}"
            yield Item(place, record, str(record.get("created_at") or ""))

    def _from(self, path: str, after: str, reader: Reader) -> Iterator[dict[str, Any]]:
        """Yield all records from `after` on.

        Each page begins at the moment of the last record of the one before. So records that are deleted
        meanwhile do not shift others out of sight, as they do where pages are counted.
        """
        seen: set[Any] = set()
        page = 1
        while True:
            query = {"created_at": {"$gte": after}} if after else {}
            found = self._page(path, query, page, reader)
            for record in found:
                if record.get("id") not in seen:
                    yield record
            if len(found) < PAGE:
                return
            last = str(found[-1].get("created_at") or "")
            if last and last != after:
                seen = {r.get("id") for r in found if r.get("created_at") == last}
                after, page = last, 1
            else:  # a whole page of one moment
                seen |= {r.get("id") for r in found}
                page += 1

    def _page(
        self, path: str, query: dict[str, Any], page: int, reader: Reader
    ) -> list[dict[str, Any]]:
        params = {"page": page, "page_size": PAGE, "order_by": "asc", "sort_by": "created_at"}
        response = self._asked(path, query, params)
        if response.status_code != 200:
            raise ServerError(
                f"{response.request.url}: {response.status_code} {response.text[:200]!r}"
            )
        try:
            found = reader.parse(response.text)
        except Rejected:
            found = None
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise ServerError(f"{response.request.url}: not the answer of a DriftWatch server")
        return found

    def _asked(self, path: str, query: Any, params: Any) -> httpx.Response:
        """Return the answer to a search, after some tries if the server is busy or away."""
        pause, problem = _PAUSE_SECONDS, ""
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(pause)  # nothing tells when the server is back
                pause *= 2
            try:
                response = self._client.post(path, json=query, params=params)
            except httpx.HTTPError as error:
                problem = str(error) or type(error).__name__
                continue
            if response.status_code < 500 and response.status_code != 429:
                return response
            problem = f"{response.status_code} {response.reason_phrase}"
        raise ServerError(
            f"{self.url}: {problem}; what was read is stored, and the same command goes on from there"
        )


def import_from(origin: Origin, importer: Importer, only: Collection[str] = ()) -> None:
    """Take in experiments of a running server with their jobs.

    What an interrupted import has read already is skipped.

    Args:
        origin: The server.
        importer: Takes the records.
        only: Names or ids of the wanted experiments; empty for all.

    Raises:
        InputError: The server shows no such experiment.
        ServerError: It does not answer, or not as a DriftWatch server.
    """
    listed = list(origin.experiments(importer.reader))
    wanted = [r for r in listed if not only or r.get("id") in only or r.get("name") in only]
    names = {r.get("name") for r in wanted} | {r.get("id") for r in wanted}
    if missing := sorted(set(only) - names):
        raise InputError(f"{origin.url} shows no experiment {missing[0]!r} to us")
    for record in wanted:
        item = Item(f"experiment {str(record.get('id'))[:36]}", record)
        number = importer.take_experiment(item)
        if number is None:
            continue
        position = importer.position(number)
        if position != DONE:
            jobs = origin.jobs(str(record["id"]), position, importer.reader)
            importer.take_jobs(number, jobs)
            importer.end_experiment(number)
    importer.end()
