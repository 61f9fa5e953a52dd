"""Clients that send pictures to a node without a pause."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any

import requests

from conftest import Served, camera_pixels, jpeg

FRAMES = 40  # different pictures


class Load:
    """Threads that post pictures, each for a stream of its own, while the context is open.

    Attributes:
        answers: The answers by event id.
        failures: What was no answer with a verdict.
        slowest: Seconds of the slowest answer.
    """

    def __init__(self, served: Served, clients: int = 2, pause: float = 0.0) -> None:
        self.answers: dict[str, dict[str, Any]] = {}
        self.failures: list[str] = []
        self.slowest = 0.0
        self._served = served
        self._pause = pause
        self._frames = [jpeg(camera_pixels(i)) for i in range(FRAMES)]
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._post, args=(f"s{i}",), daemon=True)
            for i in range(clients)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End after the answers to what was sent."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _post(self, stream: str) -> None:
        i = 0
        while not self._ended.wait(self._pause):
            event_id, i = f"{stream}-{i}", i + 1
            began = time.monotonic()
            try:
                data = self._frames[i % FRAMES]
                reply = self._served.predict(data, stream=stream, event_id=event_id)
            except requests.RequestException as error:
                self.failures.append(f"{event_id}: {error}")
                continue
            self.slowest = max(self.slowest, time.monotonic() - began)
            if reply.status_code == 200:
                self.answers[event_id] = reply.json()
            else:
                self.failures.append(f"{event_id}: {reply.status_code} {reply.text}")
