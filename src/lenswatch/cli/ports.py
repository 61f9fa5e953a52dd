"""The ports that servers are to listen on."""

from __future__ import annotations

import contextlib
import errno
import socket
from pathlib import Path

from lenswatch.errors import ServerError

__all__ = ["require_free"]

_LISTENS = "0A"  # the state of a listening socket in /proc/net/tcp


def require_free(host: str, port: int) -> None:
    """Raise ServerError, with the processes where the system tells, if something listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            holders = _holders(port) if error.errno == errno.EADDRINUSE else []
            by = f"; it is used by {' and '.join(holders)}" if holders else ""
            raise ServerError(
                f"port {port} on {host} cannot be used ({error.strerror}){by}; stop what listens there, or "
                "choose others with --port and --server-port"
            ) from None


def _holders(port: int) -> list[str]:
    """Return the processes that listen on a port, as far as Linux lets this user see them."""
    inodes = {
        f"socket:[{fields[9]}]"
        for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
        for fields in _rows(table)
        if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port
    }
    if not inodes:
        return []
    numbers = sorted(int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal())
    return [
        f"process {number} ({_command(number)})" for number in numbers if inodes & _open(number)
    ]


def _rows(table: Path) -> list[list[str]]:
    try:
        return [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:  # not Linux
        return []


def _open(number: int) -> set[str]:
    links = set()
    with contextlib.suppress(OSError):  # it has ended, or is another user's
        for link in Path(f"/proc/{number}/fd").iterdir():
            with contextlib.suppress(OSError):
                links.add(str(link.readlink()))
    return links


def _command(number: int) -> str:
    """Return the program of a process, such as `deepaas-run` or `python -m lenswatch`."""
    try:
        words = Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "ended meanwhile"
    program = [Path(word).name for word in words[:1]] + words[1:3]
    return " ".join(word if len(word) <= 40 else Path(word).name for word in program).strip()
