"""The device that torch trains and encodes clean pictures on.

A node encodes live pictures on the CPU, so what another device computes must be the same there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch

from lenswatch.detect.arrays import Floats32
from lenswatch.errors import ConfigError

__all__ = ["COMPARED", "CPU", "SAME", "chosen_device", "exactly", "farthest"]

CPU = torch.device("cpu")
COMPARED = 32  # clean pictures that both encode
SAME = 1e-4  # largest difference of an embedding's values, as a share of their largest one


def chosen_device(wanted: Literal["auto", "cpu", "cuda", "mps"]) -> torch.device:
    """Return the device of a setting; "auto" is CUDA, else Apple's MPS, else the CPU.

    Raises:
        ConfigError: This machine, or this build of torch, has no such device.
    """
    usable = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wanted == "auto":
        return torch.device(next(name for name, found in usable.items() if found))
    if not usable[wanted]:
        raise ConfigError(
            f'encoder.device = "{wanted}": torch {torch.__version__} finds no such device here; '
            'set "auto" or "cpu"'
        )
    return torch.device(wanted)


@contextmanager
def exactly(device: torch.device) -> Iterator[None]:
    """Forbid CUDA to round to 10 bits (TF32), which convolutions do by default."""
    if device.type != "cuda":
        yield
        return
    flags: tuple[Any, Any] = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [flag.allow_tf32 for flag in flags]
    for flag in flags:
        flag.allow_tf32 = False
    try:
        yield
    finally:
        for flag, value in zip(flags, before, strict=True):
            flag.allow_tf32 = value


def farthest(embeddings: Floats32, by_cpu: Floats32) -> float:
    """Return the largest difference of two sets of embeddings (n, d), as a share of the largest value."""
    largest = float(np.abs(by_cpu).max()) or 1.0
    return float(np.abs(embeddings - by_cpu).max()) / largest
