"""The process in which apprise sends one message: JSON comes on standard input, the outcome goes out as JSON.

Once apprise is loaded, this process connects only to addresses that are allowed, opens
no files but those of Python, starts no programs and writes no log: an apprise URL may name all of these.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lenswatch.server.alerts.channels.guard import Allowed, BlockedError, read_allowed

__all__ = ["main"]

_CONNECTING = ("socket.connect", "socket.sendto", "socket.sendmsg")
_LOCAL = (
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"),
    *("syslog.openlog", "syslog.syslog"),
)
_READABLE = ("/etc/ssl/", "/usr/share/zoneinfo/", "/etc/mime.types", "/etc/resolv.conf")
_WORDS = re.compile(r"[^ -~]+")
_LONGEST = 160  # characters of what a service said


def main() -> None:
    """Send the message on standard input, or only name its service."""
    wanted = json.load(sys.stdin)
    said = sys.stdout
    sys.stdout = sys.stderr  # whatever a plugin prints
    json.dump(_answer(wanted), said)
    said.flush()


def _answer(wanted: Mapping[str, Any]) -> dict[str, Any]:
    import apprise
    from apprise.attachment.memory import AttachMemory
    from apprise.logger import LogCapture

    guard = _Guard(_allowed(wanted.get("allowed", {"names": (), "networks": ()})))
    sys.addaudithook(guard)
    asset = apprise.AppriseAsset(async_mode=False, plugin_paths=[], app_id="Lenswatch")
    plugin = apprise.Apprise.instantiate(wanted["url"], asset=asset, suppress_exceptions=True)
    if plugin is None:
        return {"service": None, "delivered": False, "result": "apprise does not know this URL"}
    if "body" not in wanted:
        return {"service": str(plugin.service_name)}
    sender = apprise.Apprise(asset=asset)
    sender.add(plugin)
    make_attachment: Any = AttachMemory
    pictures = [
        make_attachment(base64.b64decode(data), name=f"picture{n}.jpg", mimetype="image/jpeg")
        for n, data in enumerate(wanted["pictures"])
    ]
    attached = pictures if plugin.attachment_support and pictures else None
    capture: Any = LogCapture
    with capture(level=logging.WARNING) as log:
        delivered = bool(
            sender.notify(
                title=wanted["title"],
                body=wanted["body"],
                notify_type=apprise.NotifyType(wanted["kind"]),
                body_format=apprise.NotifyFormat.TEXT,
                attach=attached,
            )
        )
        lines = log.getvalue().splitlines()
    return {"delivered": delivered, "result": _result(delivered, guard, lines)}


def _allowed(given: Mapping[str, Any]) -> Allowed:
    """Return what may be reached, with the addresses of the names, which the guard does not see."""
    addresses = [
        str(entry[4][0]).partition("%")[0] for name in given["names"] for entry in _addresses(name)
    ]
    return read_allowed([*given["networks"], *addresses])


def _addresses(name: str) -> list[Any]:
    try:
        return socket.getaddrinfo(name, None)
    except OSError:
        return []


def _result(delivered: bool, guard: _Guard, lines: list[str]) -> str:
    if delivered:
        return "accepted"
    if guard.refused:
        return guard.refused
    last = _WORDS.sub(" ", lines[-1] if lines else "the service did not take it")
    return last[:_LONGEST]


class _Guard:
    """An audit hook that refuses what a message must not cause."""

    def __init__(self, allowed: Allowed) -> None:
        self.allowed = allowed
        self.refused = ""
        self._folders = tuple({sys.prefix, sys.base_prefix, *filter(None, sys.path)})

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        check: Callable[..., str] | None = None
        if event in _CONNECTING:
            check = self._connecting
        elif event == "open":
            check = self._opening
        elif event in _LOCAL:
            check = self._staying
        if check is not None and (refused := check(*arguments)):
            self.refused = refused
            raise BlockedError(refused)

    def _connecting(self, _socket: Any, address: Any, *_: Any) -> str:
        if isinstance(address, tuple) and self.allowed.permits(str(address[0])):
            return ""
        shown = address[0] if isinstance(address, tuple) else "a local socket"
        return f"{shown} is within the server's own network; server.alerts.private_hosts does not name it"

    def _opening(self, path: Any, mode: Any = "r", flags: Any = 0) -> str:
        del flags
        if isinstance(path, int) or (
            (mode is None or "r" in str(mode)) and self._is_readable(path)
        ):
            return ""
        return "the apprise URL names a file of the server"

    def _is_readable(self, path: Any) -> bool:
        name = str(Path(str(path)).resolve())
        return name.startswith((*self._folders, *_READABLE)) or name in (
            "/dev/null",
            "/dev/urandom",
        )

    def _staying(self, *_: Any) -> str:
        return "the apprise URL names a program or a log of the server"


if __name__ == "__main__":
    main()
