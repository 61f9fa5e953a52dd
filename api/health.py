"""`/healthz`: can the node judge pictures and record them? `/livez`: does its process answer?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from lenswatch.api.checks import Check, Finding, node_checks
from lenswatch.api.workers.pool import WorkerPool

from lenswatch.config import Config
from lenswatch.reference.paths import model_version

__all__ = ["Health"]

log = logging.getLogger(__name__)

CHECK_SECONDS = 5.5  # after which a check has failed
KEEP_SECONDS = 1.0  # for which a report is repeated


@dataclass(frozen=True)
class _Report:
    status: int
    body: dict[str, Any]


class Health:
    """The health of a node. All methods belong to one event loop.

    Requests that arrive together share one report, and it is repeated for a second: being asked often costs
    nothing.

    Args:
        config: The settings.
        pool: Function that returns the worker processes; None when DEEPaaS keeps its own pool.

    Attributes:
        checks: The checks by name, in the order in which the report has them.
    """

    def __init__(self, config: Config, pool: Callable[[], WorkerPool | None]) -> None:
        self.checks: dict[str, Check] = node_checks(config, pool)
        self._running: dict[str, asyncio.Task[Finding]] = {}
        self._report: asyncio.Task[_Report] | None = None
        self._made = 0.0  # time of the last report
        self._said = ""  # what was logged last

    def attach(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/livez", self._livez)

    async def _healthz(self, _request: web.Request) -> web.Response:
        now = asyncio.get_running_loop().time()
        if self._report is None or (self._report.done() and now - self._made >= KEEP_SECONDS):
            self._report = asyncio.create_task(self._make())
        report = await asyncio.shield(self._report)  # others wait for it too
        return web.json_response(report.body, status=report.status)

    async def _livez(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _make(self) -> _Report:
        found = await asyncio.gather(*(self._find(name) for name in self.checks))
        self._made = asyncio.get_running_loop().time()
        findings = dict(zip(self.checks, found, strict=True))
        reasons = {name: finding.reason for name, finding in findings.items() if finding.reason}
        warnings = any(finding.warning for finding in found)
        digest = findings["reference"].told.get("digest")
        body = {
            "status": "unavailable" if reasons else "degraded" if warnings else "ok",
            "model": model_version(digest),
            "reference": digest is not None,
            "checks": {name: finding.to_json() for name, finding in findings.items()},
        }
        message = "; ".join(reasons.values())
        self._log(message)
        if reasons:
            body["message"] = message
        return _Report(503 if reasons else 200, body)

    async def _find(self, name: str) -> Finding:
        """Return what a check finds. One that takes too long goes on, and is waited for again next time."""
        task = self._running.get(name)
        if task is None:
            task = self._running[name] = asyncio.ensure_future(self.checks[name]())
        await asyncio.wait([task], timeout=CHECK_SECONDS)
        if not task.done():
            return Finding(f"the check of {name} took more than {CHECK_SECONDS:g} s")
        del self._running[name]
        error = task.exception()
        if error is None:
            return task.result()
        log.error("the check of %s failed", name, exc_info=error)
        return Finding(f"the check of {name} failed: {error}")

    def _log(self, message: str) -> None:
        """Log that the node became unavailable or available, once each."""
        if message and message != self._said:
            log.warning("this node is unavailable: %s", message)
        elif self._said and not message:
            log.info("this node is available again")
        self._said = message
