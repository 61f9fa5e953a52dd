"""The memory of a process that handles one picture after the other."""

from __future__ import annotations

__all__ = ["keep_freed_memory"]

LARGE_BYTES = 2**24


def keep_freed_memory() -> None:
    """Let the C library keep what is freed for the next picture, up to some 30 MB.

    At first glibc gives each freed piece of more than 128 KB back to the kernel, and gets it anew, page by
    page, for the next picture; NumPy takes three times as long with that. It stops to do so once it has seen
    a larger piece come and go (mallopt(3), M_MMAP_THRESHOLD). That piece is never written to, so that it
    takes no memory. Other C libraries do not mind.
    """
    # findings/numpy-temporaries-are-mapped-anew-until-a-large-one-was-freed.sh
    bytes(LARGE_BYTES)
