"""The memory of processes that run for long."""

from __future__ import annotations

import gc

__all__ = ["collect_rarely", "keep_freed_memory"]

LARGE_BYTES = 2**24
COLLECTIONS = (20_000, 20, 20)  # new objects before the youngest are looked at, and so on


def keep_freed_memory() -> None:
    """Let the C library keep what is freed for the next picture, up to some 30 MB.

    At first glibc gives each freed piece of more than 128 KB back to the kernel, and gets it anew, page by
    page, for the next picture; NumPy takes three times as long with that. It stops to do so once it has seen
    a larger piece come and go (mallopt(3), M_MMAP_THRESHOLD). That piece is never written to, so that it
    takes no memory. Other C libraries do not mind.
    """
    # findings/numpy-temporaries-are-mapped-anew-until-a-large-one-was-freed.sh
    bytes(LARGE_BYTES)


def collect_rarely() -> None:
    """Let the garbage collector pass over what exists, and wait for more new objects than it does by itself.

    A server has hundreds of thousands of objects once it has started, none of them garbage. Each time that a
    request parsed a few thousand values, the collector looked at all of them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTIONS)
