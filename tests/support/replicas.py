"""Replicas of a node in processes of their own, a balancer before them, and somebody who kills them."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import socket
import threading
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from lenswatch.config import Config
from support.outbox import LIMITS

SPAWN = multiprocessing.get_context("spawn")


def replica(config: Config, pipe: Connection) -> None:
    """Judge what comes through `pipe`, and send drift jobs whenever the lease is held, until killed."""
    from conftest import camera_pixels, jpeg
    from lenswatch.errors import StoreError
    from lenswatch.node.observe import Node
    from lenswatch.node.request import Request
    from lenswatch.outbox.sender import Sender

    node = Node(config)
    sender = Sender(node.store, config.tracking, poll=0.05, lease_seconds=1.5, limits=LIMITS)
    sender.start()
    while True:
        stream, number, event_id = pipe.recv()
        picture = jpeg(camera_pixels(number, blurred=number % 20 >= 12))
        try:
            answer = node.observe(picture, Request(stream=stream, event_id=event_id))
        except StoreError as error:
            answer = {"error": str(error)}
        pipe.send(answer)


class Replica:
    """A place for a process, which is filled again when it was killed."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._turn = threading.Lock()
        self._start()

    def _start(self) -> None:
        self._pipe, other = SPAWN.Pipe()
        self.process = SPAWN.Process(target=replica, args=(self._config, other), daemon=True)
        self.process.start()
        other.close()

    def ask(self, *call: Any) -> dict[str, Any] | None:
        """Return the answer; None if the process was killed meanwhile."""
        with self._turn:
            try:
                self._pipe.send(call)
                answer: dict[str, Any] = self._pipe.recv()
            except (EOFError, OSError):
                self.process.join(60)
                self._start()
                return None
        return answer

    def kill(self) -> None:
        self.process.kill()


@contextlib.contextmanager
def replicas(config: Config, number: int) -> Iterator[list[Replica]]:
    """So many replicas, which are killed at the end."""
    places = [Replica(config) for _ in range(number)]
    try:
        yield places
    finally:
        for place in places:
            place.kill()
            place.process.join(60)


def judged(
    places: list[Replica], streams: list[str], pictures: int, kills: int
) -> dict[str, list[dict[str, Any]]]:
    """Return the answers to the pictures of each stream, which go to replicas at random.

    A stream sends its next picture when the last one is answered, and sends it again when its replica was
    killed, which happens `kills` times.
    """
    answers: dict[str, list[dict[str, Any]]] = {stream: [] for stream in streams}
    failed: list[BaseException] = []
    moved = threading.Condition()

    def send(stream: str) -> None:
        chance = random.Random(stream)
        try:
            for number in range(pictures):
                answer = None
                while answer is None or "error" in answer:
                    answer = chance.choice(places).ask(stream, number, f"{stream}-{number}")
                with moved:
                    answers[stream].append(answer)
                    moved.notify_all()
        except BaseException as error:
            failed.append(error)
            raise

    def is_there(wanted: int) -> bool:
        return bool(failed) or sum(map(len, answers.values())) >= wanted

    threads = [threading.Thread(target=send, args=(stream,)) for stream in streams]
    for thread in threads:
        thread.start()
    chance = random.Random(0)
    total = pictures * len(streams)
    for kill in range(kills):
        wanted = total * (kill + 1) // (kills + 2)
        with moved:
            assert moved.wait_for(partial(is_there, wanted), 240)
        chance.choice(places).kill()
    for thread in threads:
        thread.join(240)
    assert not failed
    return answers


class Way:
    """The way to a server on this machine, which can be shut: connections end, and none is accepted."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._ends: list[socket.socket] = []
        self.port = 0
        self.open()

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        for end in (self._listener, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._ends.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = listener.accept()
                there = socket.create_connection(self._target)
                self._ends += [here, there]
                for pair in ((here, there), (there, here)):
                    threading.Thread(target=_pass_on, args=pair, daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)
