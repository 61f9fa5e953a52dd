"""Everything that the library apprise speaks: chat, SMS, push messages and much more.

It runs in a process of its own for each message. That process may be ended when it takes too long, knows none
of the server's secrets, and has a guard on what it connects to and which files it opens.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

from lenswatch.server.alerts.channels.guard import Allowed
from lenswatch.server.alerts.deliveries import Outcome
from lenswatch.server.alerts.messages import Message

__all__ = ["is_installed", "send", "service_of"]

SECONDS = 45.0  # for a whole delivery
_CHILD = "lenswatch.server.alerts.channels.apprise_process"
_PASSED = ("PATH", "LANG", "LC_ALL", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "TMPDIR")
_KINDS = {"alarm": "failure", "reminder": "warning", "recovery": "success", "test": "info"}
_turns = threading.BoundedSemaphore(2)  # each process takes some 60 MB


def is_installed() -> bool:
    """Return whether the extra `alerts` is installed."""
    return importlib.util.find_spec("apprise") is not None


def service_of(url: str) -> str | None:
    """Return the name of the service that an apprise URL addresses; None if it is none."""
    answer = _run({"url": url})
    return answer.get("service") if answer else None


def send(target: Mapping[str, Any], message: Message, allowed: Allowed) -> Outcome:
    """Send a message and return the outcome, within SECONDS of its turn."""
    if not is_installed():
        return Outcome(False, "the server lacks the library apprise; install lenswatch[alerts]")
    pictures = [base64.b64encode(picture.data).decode() for picture in message.pictures]
    wanted = {
        "url": target["url"],
        "title": message.title,
        "body": message.text,  # a title without a body counts as a failure
        "kind": _KINDS[message.kind],
        "pictures": pictures,
        "allowed": allowed.to_json(),
    }
    with _turns:
        answer = _run(wanted)
    if answer is None:
        return Outcome(False, f"no result in {SECONDS:.0f} s")
    return Outcome(answer["delivered"], answer["result"])


def _run(wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the answer of the process; None if it took too long or ended without one."""
    environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-m", _CHILD],
            input=json.dumps(wanted),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env=environment,
            check=False,
        )
        answer = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return None
    return answer if isinstance(answer, dict) else None
