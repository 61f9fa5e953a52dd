"""A tracking server in its own process, and the requests of a node."""

from __future__ import annotations

import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from lenswatch.config import load_config
from lenswatch.server.identity.keys import create_key
from support.ports import free_port
from support.samples import picture
from support.waiting import until_it_answers

START = datetime(2026, 6, 1, 8, 0, tzinfo=UTC)  # 10:00 in Berlin, where the browser is


class Server:
    """The tracking server as its own process, and what a node does to it."""

    def __init__(
        self, folder: Path, script: str = "", prefix: str = "", auth: str = "none"
    ) -> None:
        port = free_port()
        self.root = f"http://127.0.0.1:{port}{prefix}"
        self.settings = folder / "config.toml"
        program = ["-c", script] if script else ["-m", "lenswatch", "server", "--config"]
        self.command = [sys.executable, *program, str(self.settings)]
        self.settings.write_text(
            f'[server]\nport = {port}\ndatabase = "sqlite:///{folder / "server.db"}"\n'
            f'[server.auth]\nmode = "{auth}"\n',
            encoding="utf-8",
        )
        self.session = requests.Session()
        self.start()
        if auth == "keys":
            self.key = create_key(load_config(self.settings), "test", level="Admin")[1]
            self.session.headers["Authorization"] = f"Bearer {self.key}"

    def start(self) -> None:
        self.process = subprocess.Popen(self.command)
        until_it_answers(f"{self.root}/readyz", self.process)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def experiment(self, name: str = "", description: str = "", public: bool = True) -> str:
        name = name or f"Reef {uuid.uuid4()}"
        body = {"name": name, "description": description, "public": public}
        return str(self._post("/experiment", body)["id"])

    def job(self, experiment: str, **changes: Any) -> dict[str, Any]:
        return self._post(f"/experiment/{experiment}/drift", self.body(**changes))

    def jobs(self, experiment: str, jobs: list[dict[str, Any]]) -> list[str]:
        reply = self._post(f"/experiment/{experiment}/drift/batch", {"drifts": jobs})
        return [result["id"] for result in reply["results"]]

    def picture(self, experiment: str, drift: str) -> None:
        url = f"{self.root}/api/latest/experiment/{experiment}/drift/{drift}/image"
        headers, data = {"Content-Type": "image/jpeg"}, picture(size=(320, 180))
        self.session.put(url, data, headers=headers, timeout=60).raise_for_status()

    def jobs_of(self, name: str) -> list[dict[str, Any]]:
        """Return all drift jobs of the experiment of this name."""
        root, body = f"{self.root}/api/latest/experiment", {"name": name}
        found = self.session.post(f"{root}/search", json=body, timeout=60).json()
        path = f"{root}/{found[0]['id']}/drift/search"
        jobs: list[dict[str, Any]] = []
        while True:
            page = {"page": len(jobs) // 100 + 1, "page_size": 100}
            reply = self.session.post(path, json={}, params=page, timeout=60)
            reply.raise_for_status()
            jobs += reply.json()
            if len(reply.json()) < 100:
                return jobs

    def page_of(self, experiment: str) -> str:
        return f"{self.root}/experiment/{experiment}"

    @staticmethod
    def body(
        minute: int = 0,
        distance: float | None = 0.01,
        stream: str = "demo",
        status: str = "Completed",
        tags: tuple[str, ...] = (),
        drift_detected: bool | None = None,
        **parameters: object,
    ) -> dict[str, Any]:
        """A drift job as the node sends it; drift is above 0.12, warning above 0.06."""
        captured = START + timedelta(minutes=minute)
        values: dict[str, Any] = {
            "event_id": str(uuid.uuid4()),
            "stream": stream,
            "captured_at": captured.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "image_name": f"frame_{minute:04}.jpg",
        }
        if status == "Completed":
            values |= {"distance": distance, "drift_distance": 0.12, "warning_distance": 0.06}
        if drift_detected is None:
            drift_detected = status == "Completed" and distance is not None and distance > 0.12
        return {
            "job_status": status,
            "model": "lenswatch@0123456789abcdef",
            "drift_detected": drift_detected,
            "tags": list(tags),
            "parameters": values | parameters,
        }

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        reply = self.session.post(f"{self.root}/api/latest{path}", json=body, timeout=60)
        reply.raise_for_status()
        answer: dict[str, Any] = reply.json()
        return answer
