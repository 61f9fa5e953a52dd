"""The build of Lenswatch that an interpreter has, as a judge of pictures on standard input.

`benchmarks.matched` starts this file with the interpreter of each build, so it uses only what both have.

    python matched_judge.py CLEAN.npy PICTURES.npy ENCODER RUN_TIME SEED

It makes a detector of the clean pictures, then takes commands of two bytes, a letter and a number: `p` and
how many of the first of PICTURES to judge, answered with their scores as doubles (NaN for none); `r` to
reset; `k` to keep the node's database as it is; `b` to go back to that.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from lenswatch.evaluate import encoding, ours


def main(clean: Path, pictures: Path, encoder: Path, run_time: float, seed: int) -> None:
    """Judge until the input ends."""
    commands, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever is printed is no answer
    torch.set_num_threads(1)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # a node that may use one core starts no thread
    detector = made(list(np.load(clean)), encoder, run_time, seed)
    os.sched_setaffinity(0, cores)
    _serve(detector, np.load(pictures, mmap_mode="r"), commands, answers)


def made(clean: list[Any], encoder: Path, run_time: float, seed: int) -> Any:
    """Return the build's detector with an encoder that is given."""
    build: Any = ours
    if "encoder" in inspect.signature(build.make_detector).parameters:
        known = encoding.Encoder.load(encoder)
        return build.make_detector(clean, run_time, seed, encoder=known)
    read = importlib.import_module("lenswatch.evaluate.encoding")._read  # of builds until e95a244
    build.encoder_for = lambda *_: read(encoder)
    return build.make_detector(clean, run_time, seed)


def _serve(detector: Any, pictures: Any, commands: BinaryIO, answers: BinaryIO) -> None:
    build: Any = ours
    live = sqlite3.connect(build.node_database(detector._node.config.storage_path))
    kept = sqlite3.connect(":memory:")
    while len(command := commands.read(2)) == 2:
        letter, count = chr(command[0]), command[1]
        if letter == "p":
            scores = [detector.update(np.array(image))[0] for image in pictures[:count]]
            answers.write(np.array(scores, np.float64).tobytes())
            answers.flush()
        elif letter == "r":
            detector.reset()
        elif letter == "k":
            live.backup(kept)
        else:
            kept.backup(live)


if __name__ == "__main__":
    files, settings = [Path(name) for name in sys.argv[1:4]], sys.argv[4:]
    main(files[0], files[1], files[2], float(settings[0]), int(settings[1]))
