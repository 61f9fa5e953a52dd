"""The code and the packages that a reference is made with, each by one digest."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path

__all__ = ["code", "packages"]

_NAME = "lenswatch"


def code() -> dict[str, str]:
    """Return the version of Lenswatch, and the SHA-256 of its modules by name and content."""
    root, found = Path(__file__).parents[1], hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        found.update(f"{file.relative_to(root).as_posix()} {content}\n".encode())
    return {"version": metadata.version(_NAME), "digest": found.hexdigest()}


def packages() -> dict[str, str | int]:
    """Return the number of installed packages, and the SHA-256 of their pins.

    The pins are lines `name==version` in the order of the alphabet, as a lock file has them, Lenswatch's
    own left out.
    """
    pins = {
        f"{each.name.lower().replace('_', '-').replace('.', '-')}=={each.version}"
        for each in metadata.distributions()
        if each.name and each.name != _NAME
    }
    text = "".join(f"{pin}\n" for pin in sorted(pins))
    return {"packages": len(pins), "digest": hashlib.sha256(text.encode()).hexdigest()}
