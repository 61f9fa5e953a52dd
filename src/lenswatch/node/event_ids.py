"""Event ids of pictures that are judged from a folder or an archive."""

from __future__ import annotations

import hashlib

from lenswatch.node.request import Request

__all__ = ["event_id_of"]


def event_id_of(reference: str | None, request: Request, name: str, content: str) -> str:
    """Return the id of a picture's verdict: one for each stream, reference, rule, name and content.

    Copies of a picture have ids of their own, since a frozen camera writes the same file again and again.

    Args:
        reference: Digest of the reference in force; None without one.
        request: The stream and the rule.
        name: Path of the picture below its folder or source, with "/".
        content: SHA-256 of its file, hexadecimal.
    """
    rule = f"{request.drift_distance} {request.warning_distance}"
    parts = (request.stream, reference or "none", rule, name, content)
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape"))
    return f"folder-{digest.hexdigest()[:48]}"
