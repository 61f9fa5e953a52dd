"""Evaluations of several detectors on several cameras, shared out among processes.

The pictures of a camera are decoded once, into a file that all processes map. Each process makes all
the detectors for itself and takes a part of the cases, so that an image is spoilt once for all of
them. What comes out does not depend on the number of processes.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import signal
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lenswatch.config import Config, EncoderConfig
from lenswatch.detect.arrays import Pixels
from lenswatch.errors import ImageError, InputError
from lenswatch.evaluate.encoding import share_encoders, train_encoder
from lenswatch.evaluate.makers import BUILT_IN, maker
from lenswatch.evaluate.protocol import (
    Case,
    Detector,
    Outcome,
    Plan,
    Run,
    all_cases,
    half_of,
    halves,
    judge,
)
from lenswatch.progress import Step
from lenswatch.reference.pictures import read_picture_file

__all__ = ["run"]

Scores = tuple[float, Run]  # a detector's threshold, and what it said

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class _Footage:
    """The pictures of a camera, (n, h, w, 3) uint8, in a file."""

    file: Path
    shape: tuple[int, ...]

    def images(self) -> list[Pixels]:
        """Views into the file, which is mapped, not read; writing to them changes no file."""
        return [np.asarray(image) for image in np.memmap(self.file, np.uint8, "c", 0, self.shape)]


@dataclass(frozen=True)
class _Part:
    """What one process does at a time.

    Attributes:
        number: among the `of` parts of its camera; the first, 0, has the clean images, too.
    """

    number: int
    of: int
    camera: str
    footage: _Footage
    names: tuple[str, ...]
    plan: Plan
    cases: tuple[Case, ...]


def run(
    names: Sequence[str],
    cameras: Mapping[str, Sequence[Path]],
    config: Config,
    plan: Plan,
    processes: int,
) -> Generator[Step, None, list[Outcome]]:
    """Judge detectors on the pictures of cameras; returned: the outcomes by detector, then by camera.

    Args:
        names: built in, or MODULE:FUNCTION.
        cameras: the pictures of each in time order.
        config: for how pictures are read.
        plan: what is tried.
        processes: how many at once, of one thread each.

    Raises:
        InputError: an unknown detector, too little footage, or pictures that cannot be used.
    """
    for name in names:
        maker(name)
    for pictures in cameras.values():
        all_cases(half_of(len(pictures), plan), plan)  # refuses too few
    with tempfile.TemporaryDirectory(prefix="lenswatch-evaluate-") as scratch:
        kept = {}
        for i, (camera, pictures) in enumerate(cameras.items()):
            kept[camera] = yield from _keep(Path(scratch) / str(i), camera, pictures, config)
        with _Pool(processes, Path(scratch)) as pool:
            if any(name in BUILT_IN for name in names):
                yield from pool.each(_train, [(*each, plan) for each in kept.items()])
            parts = [
                part
                for camera, footage in kept.items()
                for part in _parts(camera, footage, names, plan, processes)
            ]
            found = yield from pool.each(_judge, [(part,) for part in parts])
    return [
        _outcome(name, k, camera, parts, found) for k, name in enumerate(names) for camera in kept
    ]


def _keep(
    file: Path, camera: str, pictures: Sequence[Path], config: Config
) -> Generator[Step, None, _Footage]:
    """Decode the pictures into a file."""
    kept: Pixels | None = None
    for i, path in enumerate(pictures):
        try:
            picture = read_picture_file(path, config.transform.resize, config.upload)
        except ImageError as error:
            raise InputError(f"{path}: {error}") from None
        pixels = np.asarray(picture.image)
        if kept is None:
            kept = np.memmap(file, np.uint8, "w+", 0, (len(pictures), *pixels.shape))
        if pixels.shape != kept.shape[1:]:
            raise InputError(
                f"{path}: {_size(pixels)} pixels, where {pictures[0].name} has {_size(kept[0])}; "
                "give pictures of one size"
            )
        kept[i] = pixels
        yield Step(f"{camera}: reading", i + 1, len(pictures))
    return _Footage(file, () if kept is None else kept.shape)


def _size(pixels: Pixels) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"


def _parts(
    camera: str, footage: _Footage, names: Sequence[str], plan: Plan, processes: int
) -> list[_Part]:
    """The cases, each dealt to the part with the fewest images so far."""
    judged = half_of(footage.shape[0], plan)
    cases = all_cases(judged, plan)
    dealt: list[list[Case]] = [[] for _ in range(min(processes, len(cases) + 1))]
    loads = [judged] + [0] * (len(dealt) - 1)
    for case in cases:
        k = loads.index(min(loads))
        dealt[k].append(case)
        loads[k] += plan.lead + plan.horizon
    return [
        _Part(number, len(dealt), camera, footage, tuple(names), plan, tuple(share))
        for number, share in enumerate(dealt)
    ]


def _outcome(
    name: str, k: int, camera: str, parts: Sequence[_Part], found: Sequence[Sequence[Scores]]
) -> Outcome:
    """The outcome of detector `k` from the parts of a camera, in the order of a single process."""
    own = [scores[k] for part, scores in zip(parts, found, strict=True) if part.camera == camera]
    plan = next(part.plan for part in parts if part.camera == camera)
    threshold, first = own[0]
    trials = {Case(t.corruption, t.mode, t.onset): t for _, run in own for t in run.trials}
    ordered = tuple(trials[case] for case in all_cases(len(first.clean), plan))
    return Outcome(name, camera, threshold, first.clean, ordered)


class _Pool:
    """Processes that tell how far they are."""

    def __init__(self, processes: int, scratch: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._others = set(multiprocessing.active_children())
        self._told: Any = context.Queue()
        self._executor = ProcessPoolExecutor(
            processes, context, initializer=_start, initargs=(self._told, scratch)
        )

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:  # do not wait for what nobody will look at
            for child in set(multiprocessing.active_children()) - self._others:
                child.terminate()
        self._executor.shutdown(cancel_futures=True)
        self._told.close()

    def each(self, work: Any, arguments: Sequence[tuple[Any, ...]]) -> Generator[Step, None, Any]:
        """What `work` returns for each of the arguments, with the steps that it tells meanwhile."""
        with _one_thread_each():  # processes are started as work is given
            futures = [self._executor.submit(work, *each) for each in arguments]
        tally = _Tally()
        while not _over(futures):
            try:
                yield tally.step(*self._told.get(timeout=0.2))
            except queue.Empty:
                continue
        results = [future.result() for future in futures]
        for message in _rest(self._told):
            yield tally.step(*message)
        return results


class _Tally:
    """Adds up how far the parts of a task are."""

    def __init__(self) -> None:
        self._parts: dict[str, dict[int, int]] = {}

    def step(self, task: str, part: int, done: int, total: int) -> Step:
        parts = self._parts.setdefault(task, {})
        parts[part] = done
        return Step(task, sum(parts.values()), total)


def _over(futures: Sequence[Future[Any]]) -> bool:
    failed = any(future.done() and future.exception() is not None for future in futures)
    return failed or all(future.done() for future in futures)


def _rest(told: Any) -> Iterator[tuple[Any, ...]]:
    """What is still on its way."""
    while True:
        try:
            yield told.get(timeout=0.1)
        except queue.Empty:
            return


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Numerical libraries read this when they are loaded, in the processes started meanwhile."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


# What follows runs in the processes.

_progress: Any = None


def _start(told: Any, scratch: Path) -> None:
    global _progress
    _progress = told
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its processes
    tempfile.tempdir = str(scratch)  # which the parent removes, whatever happens
    torch.set_num_threads(1)
    share_encoders(scratch)
    logging.basicConfig(level=logging.WARNING, format="lenswatch: %(message)s", force=True)


def _train(camera: str, footage: _Footage, plan: Plan) -> None:
    """Leave the encoder that the built-in detectors share where all processes find it."""
    first, _ = halves(footage.images(), plan)
    task, epochs = f"{camera}: training the encoder", EncoderConfig().epochs
    for epoch in train_encoder(first, plan.seed):
        _progress.put((task, 0, epoch.number, epochs))
    _progress.put((task, 0, epochs, epochs))  # it may have stopped early


def _judge(part: _Part) -> list[Scores]:
    """The scores of each detector on one part."""
    # what there is to say of a calibration, the first part says
    logging.getLogger("lenswatch").setLevel(logging.ERROR if part.number else logging.WARNING)
    plan = part.plan
    first, second = halves(part.footage.images(), plan)
    detectors: list[Detector] = []
    for name in part.names:
        detectors.append(maker(name)(first, plan.ert, plan.seed))
        _tell(part, "configuring", len(detectors), part.of * len(part.names))
    totals = {
        "clean footage": len(second),
        "corrupted footage": len(all_cases(len(second), plan)),
    }
    steps = judge(detectors, second, plan, part.cases, clean=part.number == 0)
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            thresholds = [float(detector.threshold) for detector in detectors]
            return list(zip(thresholds, stop.value, strict=True))
        _tell(part, step.stage, step.done, totals[step.stage])


def _tell(part: _Part, stage: str, done: int, total: int) -> None:
    _progress.put((f"{part.camera}: {stage}", part.number, done, total))
