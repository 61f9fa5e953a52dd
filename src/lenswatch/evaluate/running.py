"""Evaluations of several detectors on several cameras, shared out among processes.

The pictures of a camera are decoded once, into a file that all processes map. Each process makes all
the detectors for itself and takes a part of the cases, so that an image is corrupted once for all of
them. The outcome does not depend on the number of processes.
"""

from __future__ import annotations

import functools
import logging
import multiprocessing
import os
import platform
import queue
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lenswatch.config import Config, EncoderConfig
from lenswatch.detect.arrays import Pixels
from lenswatch.errors import ImageError, InputError
from lenswatch.evaluate.encoding import Encoder
from lenswatch.evaluate.makers import maker, takes_encoder, with_encoder
from lenswatch.evaluate.protocol import (
    Case,
    Detector,
    Outcome,
    Plan,
    Run,
    all_cases,
    assess,
    half_of,
    halves,
)
from lenswatch.progress import Progress, Step, no_progress
from lenswatch.reference.pictures import read_picture_file
from lenswatch.reference.training import Epoch

if TYPE_CHECKING:
    from lenswatch.cluster.connection import Cluster

__all__ = ["PictureFile", "Pool", "keep_pictures", "opened_pool", "run", "tell"]

ThresholdAndRun = tuple[float, Run]  # of one detector

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class PictureFile:
    """Pictures of a camera, decoded into one file.

    Attributes:
        file: (n, h, w, 3) uint8.
        shape: (n, h, w, 3).
    """

    file: Path
    shape: tuple[int, ...]

    def images(self) -> list[Pixels]:
        """Return views into the file, which is mapped; writing to them does not change it."""
        return [np.asarray(image) for image in np.memmap(self.file, np.uint8, "c", 0, self.shape)]

    @property
    def encoder(self) -> Path:
        """File of the encoder that is trained on the first half, if a detector needs it."""
        return self.file.with_suffix(".encoder")


@dataclass(frozen=True)
class _Part:
    """A share of the cases of one camera, for one process.

    Attributes:
        number: Place among the `of` parts of its camera; part 0 has the clean images too.
    """

    number: int
    of: int
    camera: str
    footage: PictureFile
    names: tuple[str, ...]
    plan: Plan
    cases: tuple[Case, ...]


def run(
    names: Sequence[str],
    cameras: Mapping[str, Sequence[Path]],
    config: Config,
    plan: Plan,
    processes: int,
    progress: Progress = no_progress,
    encoder: EncoderConfig | None = None,
    cluster: Cluster | None = None,
) -> list[Outcome]:
    """Evaluate detectors on the pictures of cameras; return the outcomes by detector, then by camera.

    Args:
        names: Built-in names, or MODULE:FUNCTION.
        cameras: Pictures of each camera in time order.
        config: Settings for reading pictures.
        plan: Settings of the evaluation.
        processes: Number of processes, of one thread each.
        progress: Called as pictures are read, encoders trained and images scored.
        encoder: Settings of the encoder that detectors share; its seed is the plan's.
        cluster: Its workers do the work, which see the folder for temporary files as this process does; None
            starts processes.

    Raises:
        InputError: an unknown detector, too little footage, or pictures that cannot be used.
    """
    makers = [maker(name) for name in names]
    for pictures in cameras.values():
        all_cases(half_of(len(pictures), plan), plan)  # refuses too few
    with tempfile.TemporaryDirectory(prefix="lenswatch-evaluate-") as scratch:
        kept = {
            camera: keep_pictures(Path(scratch) / str(i), camera, pictures, config, progress)
            for i, (camera, pictures) in enumerate(cameras.items())
        }
        with opened_pool(processes, Path(scratch), progress, cluster) as pool:
            if any(takes_encoder(make) for make in makers):
                settings = encoder or EncoderConfig()
                pool.each(_train, [(*each, plan, settings) for each in kept.items()])
            parts = [
                part
                for camera, footage in kept.items()
                for part in _parts(camera, footage, names, plan, processes)
            ]
            found = pool.each(_assess, [(part,) for part in parts])
    return [
        _outcome(name, k, camera, parts, found) for k, name in enumerate(names) for camera in kept
    ]


def keep_pictures(
    file: Path, camera: str, pictures: Sequence[Path], config: Config, progress: Progress
) -> PictureFile:
    """Decode the pictures into a file."""
    kept: Pixels | None = None
    for i, path in enumerate(pictures):
        try:
            transform = config.transform
            picture = read_picture_file(
                path, transform.resize, config.upload, transform.sample_bits
            )
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
        progress(Step(f"{camera}: reading", i + 1, len(pictures)))
    return PictureFile(file, () if kept is None else kept.shape)


def _size(pixels: Pixels) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"


def _parts(
    camera: str, footage: PictureFile, names: Sequence[str], plan: Plan, processes: int
) -> list[_Part]:
    """Share out the cases, each to the part with the fewest images so far."""
    tested = half_of(footage.shape[0], plan)
    cases = all_cases(tested, plan)
    dealt: list[list[Case]] = [[] for _ in range(min(processes, len(cases) + 1))]
    loads = [tested] + [0] * (len(dealt) - 1)
    for case in cases:
        k = loads.index(min(loads))
        dealt[k].append(case)
        loads[k] += plan.lead + plan.horizon
    return [
        _Part(number, len(dealt), camera, footage, tuple(names), plan, tuple(share))
        for number, share in enumerate(dealt)
    ]


def _outcome(
    name: str, k: int, camera: str, parts: Sequence[_Part], found: Sequence[list[ThresholdAndRun]]
) -> Outcome:
    """Put the parts of a camera together for detector `k`, in the order of a single process."""
    own = [scores[k] for part, scores in zip(parts, found, strict=True) if part.camera == camera]
    plan = next(part.plan for part in parts if part.camera == camera)
    threshold, first = own[0]
    trials = {Case(t.corruption, t.mode, t.onset): t for _, run in own for t in run.trials}
    ordered = tuple(trials[case] for case in all_cases(len(first.clean), plan))
    return Outcome(name, camera, threshold, first.clean, ordered)


class Pool:
    """A pool of processes with one thread each. After an error they are terminated."""

    def __init__(self, processes: int, scratch: Path, progress: Progress) -> None:
        context = multiprocessing.get_context("spawn")
        self._others = set(multiprocessing.active_children())
        self._progress = progress
        self._messages: Any = context.Queue()
        self._executor = ProcessPoolExecutor(
            processes, context, initializer=_start, initargs=(self._messages, scratch)
        )

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:  # their results are not wanted
            for child in set(multiprocessing.active_children()) - self._others:
                child.terminate()
        self._executor.shutdown(cancel_futures=True)
        self._messages.close()

    def each(self, work: Any, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the result of `work` for each of the arguments, and report progress meanwhile."""
        with _one_thread_each():  # processes are started as work is given
            futures = [self._executor.submit(work, *each) for each in arguments]
        done: dict[str, dict[int, int]] = {}
        while not any(future.done() and future.exception() for future in futures):
            over = all(future.done() for future in futures)
            try:
                task, part, count, total = self._messages.get(timeout=0.1)
            except queue.Empty:
                if over:  # and nothing is left in the queue
                    break
            else:
                done.setdefault(task, {})[part] = count
                self._progress(Step(task, sum(done[task].values()), total))
        return [future.result() for future in futures]


class _Workers:
    """The workers of a cluster, used as a `Pool`."""

    def __init__(self, cluster: Cluster, progress: Progress) -> None:
        self._cluster, self._progress = cluster, progress

    def each(self, work: Any, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return the result of `work` for each of the arguments, and report progress meanwhile."""
        found: list[Any] = []
        for one in self._cluster.in_order(functools.partial(_elsewhere, work), arguments, batch=1):
            found.append(one)
            self._progress(
                Step(f"{work.__name__.strip('_')} on the cluster", len(found), len(arguments))
            )
        return found


@contextmanager
def opened_pool(
    processes: int, scratch: Path, progress: Progress, cluster: Cluster | None
) -> Iterator[Pool | _Workers]:
    """Yield what does work with a method `each`: the workers of a cluster, or processes that are started."""
    if cluster is not None:
        yield _Workers(cluster, progress)
        return
    with Pool(processes, scratch, progress) as pool:
        yield pool


def _elsewhere(work: Any, arguments: tuple[Any, ...]) -> Any:
    """Do the work of a pool's process in a worker of a cluster.

    Raises:
        InputError: The worker does not see the footage.
    """
    torch.set_num_threads(1)
    given = [each.footage if isinstance(each, _Part) else each for each in arguments]
    footage = next(each for each in given if isinstance(each, PictureFile))
    if not footage.file.exists():
        raise InputError(
            f"{footage.file} is not there on the worker {platform.node()}: set TMPDIR to a folder that this "
            "machine and all workers share"
        )
    return work(*arguments)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Set the number of threads, which numerical libraries read as they are loaded."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@dataclass(frozen=True)
class _Worker:
    """The connection of a pool process to its parent.

    Attributes:
        messages: Queue to the parent process; None in a process that another scheduler has started.
    """

    messages: Any = None

    def tell(self, camera: str, stage: str, part: int, done: int, total: int) -> None:
        """Report progress of one part of a task."""
        if self.messages is not None:
            self.messages.put((f"{camera}: {stage}", part, done, total))


_worker = _Worker()  # of this process; the pool's initializer connects it


def tell(camera: str, stage: str, part: int, done: int, total: int) -> None:
    """Report progress of one part of a task to the pool's parent process, if there is one."""
    _worker.tell(camera, stage, part, done, total)


def _start(messages: Any, scratch: Path) -> None:
    global _worker
    _worker = _Worker(messages)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its processes
    tempfile.tempdir = str(scratch)  # which the parent removes, whatever happens
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.WARNING, format="lenswatch: %(message)s", force=True)


def _train(camera: str, footage: PictureFile, plan: Plan, settings: EncoderConfig) -> None:
    """Train the encoder that detectors share and write it beside the footage."""
    first, _ = halves(footage.images(), plan)
    stage, epochs = "training the encoder", settings.epochs

    def tell(epoch: Epoch) -> None:
        _worker.tell(camera, stage, 0, epoch.number, epochs)

    Encoder.train(first, plan.seed, settings, tell).save(footage.encoder)
    _worker.tell(camera, stage, 0, epochs, epochs)  # it may have stopped early


def _assess(part: _Part) -> list[ThresholdAndRun]:
    """Return each detector's threshold and scores on one part."""
    # Only the first part logs warnings of a calibration: the others would repeat them.
    logging.getLogger("lenswatch").setLevel(logging.ERROR if part.number else logging.WARNING)
    plan = part.plan
    first, second = halves(part.footage.images(), plan)
    encoder = Encoder.load(part.footage.encoder) if part.footage.encoder.exists() else None
    detectors: list[Detector] = []
    for name in part.names:
        detectors.append(with_encoder(maker(name), encoder)(first, plan.ert, plan.seed))
        total = part.of * len(part.names)
        _worker.tell(part.camera, "configuring", part.number, len(detectors), total)
    totals = {"clean footage": len(second), "corrupted footage": len(all_cases(len(second), plan))}

    def tell(step: Step) -> None:
        _worker.tell(part.camera, step.task, part.number, step.done, totals[step.task])

    clean = part.number == 0
    runs = assess(detectors, second, plan, part.cases, clean=clean, progress=tell)
    return [(float(d.threshold), run) for d, run in zip(detectors, runs, strict=True)]
