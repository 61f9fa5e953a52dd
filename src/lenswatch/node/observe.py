"""From a picture to a recorded verdict: the use case that API, command line and evaluation share."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lenswatch.config import Config
from lenswatch.detect.mmd import FittedMMD, Window
from lenswatch.errors import DiskFull, InputError, StoreUnavailable
from lenswatch.node.aside import Aside
from lenswatch.node.calibration_file import DEFAULT_STREAM
from lenswatch.node.clock import Place, place
from lenswatch.node.collecting.collector import Collector
from lenswatch.node.current import Current
from lenswatch.node.features import Features
from lenswatch.node.looking import Looking, Refused, Seen, milliseconds
from lenswatch.node.originals import Originals
from lenswatch.node.request import (
    FOR_SENDING,
    Request,
    iso_utc,
    open_store,
    record_refusal,
    repeat,
)
from lenswatch.node.store.gaps import note_unrecorded
from lenswatch.node.store.store import NodeStore
from lenswatch.node.store.transaction import Answer, Transaction, newest_window
from lenswatch.node.stored_state import KnownStates, state_of
from lenswatch.node.stream import StreamState
from lenswatch.node.told import identity_of, notes_of
from lenswatch.node.unrecorded import Stored, Unrecorded, not_recorded
from lenswatch.node.wrong_clocks import WrongClocks
from lenswatch.reference.artefact import Reference
from lenswatch.reference.pictures import Picture
from lenswatch.stages import stage
from lenswatch.wire import DriftJob

__all__ = ["Node"]

log = logging.getLogger(__name__)

CAMERA_CLOCK = {"name": "camera clock", "strength": 1.0, "cells": []}  # the cause of a wrong clock
TRIES = 3  # to record: after each, the store makes some space on a full disk


@dataclass(frozen=True)
class _Judged:
    """A verdict that is not recorded yet."""

    body: dict[str, Any]  # the answer
    state: StreamState | None  # of the stream after the picture; None if that does not change it
    placed: Place
    clean: bool  # no verdict, and no change of the alarm


class Node:
    """The node: judges pictures of any number of streams, in any number of threads and processes.

    Args:
        config: The settings.
        store: The node's database; None opens the one in the storage folder.

    Raises:
        ArtefactError: There is no reference yet and none is being collected for, or it is damaged.
        StoreError: The database cannot be used.
    """

    def __init__(self, config: Config, store: NodeStore | None = None) -> None:
        self.config = config
        self.store = store or open_store(config)
        self._collector = Collector(config, self.store)
        self._originals = Originals(config)
        self._looking = Looking(config, self.store)
        self._living = self._looking.living
        self._aside = Aside()
        self._loaded = None if self._collector.waits() else Current(config)
        self._unrecorded = Unrecorded()
        self._wrong_clocks = WrongClocks()
        self._known = KnownStates()
        self._start: tuple[FittedMMD, StreamState] | None = None  # of a new stream

    @property
    def reference(self) -> Reference:
        """The reference in force."""
        return self._current().fitted_reference().reference

    def look(self, source: bytes | Path | Picture, request: Request) -> Seen | Refused | None:
        """Return what `observe` finds out about a picture first, for any thread; None if it needs nothing.

        A folder's pictures may be looked at together, and are then observed one after the other.

        Raises:
            InputError: The stream or the event id is invalid.
        """
        if not self._needs_a_look(request):
            return None
        return self._looking.look(source, request, self._current())

    def recognise(self, features: Features | InputError, request: Request) -> Seen | Refused | None:
        """Return what `look` returns, for a picture whose features were computed elsewhere.

        Args:
            features: The features under the reference in force, or what makes the picture unusable.
            request: The caller's arguments.

        Raises:
            InputError: The stream or the event id is invalid.
        """
        if not self._needs_a_look(request):
            return None
        return self._looking.recognise(features, request, self._current())

    def observe(
        self,
        source: bytes | Path | Picture,
        request: Request,
        seen: Seen | Refused | None = None,
        *,
        hasty: bool = False,
    ) -> dict[str, Any]:
        """Judge one picture, record the verdict, and return the answer for the caller.

        The picture is decoded and encoded first. Then one transaction reads the stream's window, computes
        the distance, and writes the new window, the answer and the drift job. Nothing waits for the network.
        A picture that is older than the stream's newest one is judged by itself; the stream stays as it is.

        Args:
            source: The picture as the bytes of a file, a file, or decoded.
            request: The caller's arguments.
            seen: The result of `look` for them, if there is one already.
            hasty: Do not wait for the disk, so that a power cut may undo it; `store.sync` waits for all.

        Raises:
            InputError: The picture or the request cannot be used. Unless the stream or the event id is
                invalid, this is recorded as a Failed job and remembered for a retry. The window is unchanged.
        """
        request.check_names()
        return self.store.again(lambda: self._observe(source, request, seen, hasty=hasty))

    def reset(self, stream: str) -> int:
        """Delete a stream's window under every reference, and return how many there were."""
        with self.store.begin() as transaction:
            return transaction.delete_windows(stream)

    def warm(self) -> None:
        """Load everything that the first picture of the default stream needs."""
        if not self._collector.waits():
            self._current().judge_of(self.reference, DEFAULT_STREAM)

    def _observe(
        self,
        source: bytes | Path | Picture,
        request: Request,
        seen: Seen | Refused | None = None,
        *,
        hasty: bool = False,
    ) -> dict[str, Any]:
        first = self._first_answer(request.event_id)
        if first is not None:
            return first
        if self._collector.takes(request.stream):
            return self._collect(source, request)
        if seen is None:
            seen = self._looking.look(source, request, self._current(), self._aside)
        if isinstance(seen, Refused):
            record_refusal(self.store, self.config, request, seen.error)
            raise seen.error
        body = self._record(source, seen, hasty=hasty)
        return self._judge_only(seen, body) if isinstance(body, StoreUnavailable) else body

    @stage("record")
    def _record(
        self, source: bytes | Path | Picture, seen: Seen, *, hasty: bool
    ) -> dict[str, Any] | StoreUnavailable:
        """Judge a picture and record that in one transaction; return why it cannot be written now."""
        request, event_id = seen.request, seen.request.event_id
        concerns = self._originals.concern(request.stream)
        because: StoreUnavailable | None = None
        for _ in range(TRIES):
            try:
                with (
                    self._originals.keeping() as keep,
                    self.store.begin(
                        leaving=FOR_SENDING, hasty=hasty, stream=concerns
                    ) as transaction,
                ):
                    first = transaction.answer(event_id) if event_id else None
                    if first is not None:
                        return repeat(first)
                    connection = transaction.connection
                    stored = transaction.newest_window(request.stream)
                    judged = self._judge(self._live(connection, seen), stored)
                    body = judged.body
                    if judged.state is not None:
                        state = judged.state.to_bytes()
                        transaction.put_window(request.stream, seen.digest, state)
                        self._known.wrote(request.stream, (seen.digest, state), judged.state)
                        transaction.delete_other_windows(request.stream, seen.digest)
                        now, last = self.store.clock(), judged.state
                        self._living.keep(connection, seen.judge, last, seen.measured, body, now)
                    body |= self._collector.take_judged(connection, source, body)
                    body |= keep(connection, source, body)
                    if seen.shadow is not None:
                        shadow = self._looking.shadow
                        body |= shadow.judge(connection, seen.shadow, judged.placed)
                    body |= self._post(transaction, body, seen.thumbnail, clean=judged.clean)
                    transaction.put_answer(body["event_id"], Answer("judged", body))
            except StoreUnavailable as error:
                event_id = seen.about["event_id"]  # it was perhaps committed on PostgreSQL
                because = error
                continue
            self._unrecorded.recorded(request.stream)
            self._wrong_clocks.note(request.stream, judged.placed)
            return body
        assert because
        return because

    def _judge_only(self, seen: Seen, because: StoreUnavailable) -> dict[str, Any]:
        """Judge a picture that cannot be recorded by what this process knows of its stream."""
        try:
            with self.store.read() as connection:
                stored = newest_window(connection, seen.request.stream)
                seen = self._live(connection, seen)
        except StoreUnavailable:
            stored = self._known.row(seen.request.stream)
        judged = self._judge(seen, stored)
        body = judged.body | not_recorded(_in_short(because))
        self._unrecorded.keep(stored, judged.state, body, self.store.clock())
        self._wrong_clocks.note(seen.request.stream, judged.placed)
        return body

    def _live(self, connection: sa.Connection, seen: Seen) -> Seen:
        """Return a picture with the baseline in force as its judge."""
        live = self._living.judged_by(connection, seen.judge, seen.request.stream)
        return replace(seen, judge=live)

    @stage("judge")
    def _judge(self, seen: Seen, stored: Stored) -> _Judged:
        """Return the verdict on a picture, and the state of its stream after it.

        Args:
            seen: The picture.
            stored: The row of its stream in the database.
        """
        request, fitted, judge = seen.request, seen.fitted, seen.judge
        live, notes = self._unrecorded.state(request.stream, stored), list[str]()
        if live is None:
            start = self._new_state(fitted)
            live, notes = state_of(stored, start, request.stream, seen.digest, self._known)
        placed = place(seen.moments, self._now(), live.newest, backlog=request.backlog)
        state = self._new_state(fitted) if placed.late else replace(live, newest=placed.newest)
        pushed = state.window.push(seen.entry, fitted.window_size)
        state = replace(state, window=pushed, pictures=state.pictures + 1)
        far_apart = None if placed.late else placed.after_a_gap(live.newest)
        state = judge.update_chart(state, seen.measured, far_apart)
        state, verdict = judge.judge(fitted, state, request)
        filled = min(state.pictures, fitted.window_size)
        window = {"filled": filled, "size": fitted.window_size}
        body = self._placed(verdict, placed, request) | seen.about | {"window": window}
        if notes:
            body["calibration_notes"] = [*body.get("calibration_notes", ()), *notes]
        if placed.late:
            body["alarm"] = live.alarm.raised
        clean = not (body["drift"] or body["warning"] or body["alarm"] or live.alarm.raised)
        return _Judged(body, None if placed.late else state, placed, clean)

    def _post(
        self,
        transaction: Transaction,
        body: Mapping[str, Any],
        thumbnail: bytes | None,
        *,
        clean: bool = True,
    ) -> dict[str, Any]:
        """Queue the drift job, and return what the answer says of that."""
        gap = self._unrecorded.gap(body["stream"])
        if gap is not None:
            note_unrecorded(transaction.connection, body["stream"], gap)
        because = transaction.post(self._job(body), thumbnail, clean=clean)
        return not_recorded(because) if because else {"recorded": True}

    def _needs_a_look(self, request: Request) -> bool:
        """Return False for a call that is answered already, and for a picture that is only collected."""
        request.check_names()
        try:
            known = self._first_answer(request.event_id) is not None
        except InputError:  # which is that answer
            known = True
        return not (known or self._collector.takes(request.stream))

    def _first_answer(self, event_id: str | None) -> dict[str, Any] | None:
        """Return the first answer to an event id, or raise it when it was a refusal."""
        if event_id is None:
            return None
        try:
            first = self.store.answer(event_id)
        except StoreUnavailable:  # or node.db is not open yet
            first = None
        return self._unrecorded.answer(event_id) if first is None else repeat(first)

    def _current(self) -> Current:
        """Return the reference in force, which may have been made since the node began."""
        if self._loaded is None:
            self._loaded = Current(self.config)
        return self._loaded

    def _collect(self, source: bytes | Path | Picture, request: Request) -> dict[str, Any]:
        """Take a picture of a stream that is not judged as a clean one, and answer without a verdict.

        Raises:
            InputError: The picture or the request cannot be used; that is recorded.
        """
        try:
            request.check_distances()
            request.check_time()
            picture = self._looking.read(source, self.config.transform)
        except InputError as error:
            record_refusal(self.store, self.config, request, error)
            raise
        moments = self._looking.moments(request, picture)
        concerns = self._originals.concern(request.stream)
        with (
            self._originals.keeping() as keep,
            self.store.begin(leaving=FOR_SENDING, stream=concerns) as transaction,
        ):
            first = transaction.answer(request.event_id) if request.event_id else None
            if first is not None:
                return repeat(first)
            taken = self._collector.take(transaction.connection, source, request, moments)
            if taken is not None:
                told, placed = taken
                body = (
                    self._placed(told, placed, request)
                    | identity_of(request)
                    | notes_of(picture.notes)
                )
                body |= keep(transaction.connection, source, body)
                body |= self._post(transaction, body, self._looking.thumbnail(picture))
                transaction.put_answer(body["event_id"], Answer("judged", body))
        if taken is None:
            return self._observe(source, request)  # the collection has ended meanwhile
        self._unrecorded.recorded(request.stream)
        self._wrong_clocks.note(request.stream, placed)
        return body

    def _now(self) -> datetime:
        return milliseconds(datetime.fromtimestamp(self.store.clock(), UTC))

    def _placed(
        self, verdict: Mapping[str, Any], placed: Place, request: Request
    ) -> dict[str, Any]:
        """Return the verdict with the picture's times; a wrong clock is a cause, and worth a warning."""
        times = {"captured_at": iso_utc(placed.captured_at), "late": placed.late}
        camera_time = placed.camera_time or request.camera_time
        if camera_time is None:
            return {**verdict, **times}
        fixed = request.drift_distance is not None or self.config.alarm.drift_distance is not None
        told = {
            "warning": verdict["warning"] or not fixed,
            "causes": [*verdict["causes"], CAMERA_CLOCK],
            "camera_time": iso_utc(camera_time),
        }
        return {**verdict, **times, **told}

    def _new_state(self, fitted: FittedMMD) -> StreamState:
        known = self._start
        if known is None or known[0] is not fitted:
            warm = self.config.detector.warm_start
            window = fitted.warm() if warm else Window.empty(fitted.dimensions)
            known = self._start = fitted, StreamState(window)
        return known[1]

    def _job(self, body: Mapping[str, Any]) -> DriftJob:
        parameters = {key: value for key, value in body.items() if key not in ("drift", "model")}
        return DriftJob(
            "Completed", body["model"], body["drift"], self.config.tracking.tags, parameters
        )


def _in_short(error: StoreUnavailable) -> str:
    return "the disk is full" if isinstance(error, DiskFull) else "the database is unavailable"
