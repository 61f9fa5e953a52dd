"""The node against the tutorial's way of doing the same."""

from __future__ import annotations

import dataclasses
import gc
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import requests
import torch
from frouros.detectors.data_drift import MMDStreaming as FrourosMMDStreaming
from frouros.utils.kernels import rbf_kernel
from PIL import Image
from torchvision import transforms

from benchmarks.ports import free_port, until_it_answers
from benchmarks.timing import Comparison, Elsewhere, compare, milliseconds
from lenswatch.config import AlarmConfig, Config, StorageConfig, TrackingConfig
from lenswatch.demo import Footage, draw_frame
from lenswatch.detect.chart.features import measure, measure_all, view
from lenswatch.detect.mmd import median_distance
from lenswatch.detect.mmd_streaming import MMDStreaming
from lenswatch.detect.verdict import Rule
from lenswatch.node.calibrate import calibrate_stream
from lenswatch.node.current import Current
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.node.stream import StreamState
from lenswatch.reference.artefact import Reference, load_reference, save_reference
from lenswatch.reference.autoencoder import Autoencoder, TorchEncoder, encode
from lenswatch.reference.keep_light import keep_light
from lenswatch.reference.pictures import encoder_input, read_picture

__all__ = ["detector_update", "parent_memory", "predict_path", "recording"]

PICTURES = 6  # different ones, in turn
EMBEDDINGS = 400


def full_hd_pictures() -> list[bytes]:
    """JPEG files of 1920 x 1080, quality 85, of the sample footage."""
    start, size = datetime(2026, 6, 1, 10, tzinfo=UTC), (1920, 1080)
    footage = Footage(PICTURES, start, timedelta(minutes=8), size=size)
    return [_jpeg(draw_frame(footage, i)) for i in range(PICTURES)]


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def make_node(root: Path, pictures: list[bytes], *, tracking: bool = True) -> Node:
    """A node on an untrained encoder: what the weights are does not change how long they take."""
    config = _config(root, tracking=tracking)
    torch.manual_seed(0)
    encoder = Autoencoder(config.transform.resize).eval()
    size = config.transform.resize
    planes = [
        encoder_input(read_picture(p, size, config.upload).pixels(size), config.transform)
        for p in pictures
    ]
    centres = np.concatenate([encode(encoder.encoder, each[None]) for each in planes])
    rng = np.random.default_rng(0)
    views = [read_picture(p, size, config.upload).pixels(size) for p in pictures]
    noisy = (np.clip(v + rng.normal(0, 4, v.shape), 0, 255).astype(np.uint8) for v in views * 12)
    spread = rng.normal(0, centres.std() + 0.1, (EMBEDDINGS, centres.shape[1]))
    embeddings = (centres[rng.integers(0, len(centres), EMBEDDINGS)] + spread).astype(np.float32)
    sigma = median_distance(embeddings.astype(np.float64))
    made = Reference(
        TorchEncoder(encoder, config.transform),
        embeddings,
        config.transform,
        sigma,
        lens=measure_all(noisy),
    )
    reference = keep_light(root, save_reference(root, made, {}), views)
    calibrate_stream(config, reference)
    return Node(config)


def _config(root: Path, *, tracking: bool = True, verdict: Rule = "mmd") -> Config:
    """The distance alone decides, as in the tutorial; the lens chart is timed by itself."""
    return Config(
        storage=StorageConfig(path=str(root)),
        alarm=AlarmConfig(verdict=verdict),
        tracking=TrackingConfig(url="http://127.0.0.1:9" if tracking else ""),
    )


def in_turn(action: Callable[[bytes], object], pictures: list[bytes]) -> Callable[[], object]:
    """Calls `action` with the next picture each time."""
    state = {"next": 0}

    def call() -> object:
        state["next"] = (state["next"] + 1) % len(pictures)
        return action(pictures[state["next"]])

    return call


def predict_path(root: Path, runs: int = 120) -> Comparison:
    """Time the path from the bytes of a full-HD JPEG to the answer, ours with store and drift job.

    Each in a process of its own, as DEEPaaS would run it: what one does to the memory allocator and
    the garbage collector does not touch the other.
    """
    pictures = full_hd_pictures()
    make_node(root, pictures)
    with (
        Elsewhere(_our_path, root, pictures) as ours,
        Elsewhere(_tutorial_path, root, pictures) as theirs,
    ):
        return compare("predict path, 1920x1080 JPEG", ours, theirs, 2.5, runs)


def _our_path(root: Path, pictures: list[bytes]) -> Callable[[], object]:
    config = _config(root)
    node = Node(config)
    gc.freeze()  # as lenswatch.api.worker does
    return in_turn(lambda data: node.observe(data, Request()), pictures)


def _tutorial_path(root: Path, pictures: list[bytes]) -> Callable[[], object]:
    """The tutorial's path on the same encoder, reference and bandwidth."""
    reference = load_reference(root, light=False)
    assert isinstance(reference.encoder, TorchEncoder)
    encoder = reference.encoder.autoencoder.encoder
    size, transform = reference.transform.resize, reference.transform
    prepare = transforms.Compose(
        [
            transforms.Resize(size),
            transforms.ToTensor(),
            transforms.Normalize(transform.mean, transform.std),
        ]
    )
    detector = FrourosMMDStreaming(
        window_size=12, kernel=partial(rbf_kernel, sigma=reference.sigma)
    )
    detector.fit(X=reference.embeddings)
    for row in reference.embeddings[:12]:
        detector.update(value=row)

    def predict(data: bytes) -> object:
        tensor = prepare(Image.open(io.BytesIO(data)).convert("RGB"))
        with torch.no_grad():
            embedding = encoder(tensor.unsqueeze(0))[0]
        return detector.update(value=embedding.numpy())

    return in_turn(predict, pictures)


def with_lens_chart(root: Path, runs: int = 120) -> Comparison:
    """The whole predict path with the lens chart, against the tutorial's, which has none."""
    pictures = full_hd_pictures()
    make_node(root, pictures)
    with (
        Elsewhere(_our_whole_path, root, pictures) as ours,
        Elsewhere(_tutorial_path, root, pictures) as theirs,
    ):
        return compare("the same with the lens chart", ours, theirs, 1.0, runs)


def _our_whole_path(root: Path, pictures: list[bytes]) -> Callable[[], object]:
    config = _config(root, verdict="either")
    calibrate_stream(config, load_reference(root))
    node = Node(config)
    gc.freeze()
    return in_turn(lambda data: node.observe(data, Request()), pictures)


def lens_chart(root: Path, runs: int = 200) -> Comparison:
    """Time the chart on a decoded picture, against the encoder on the same picture."""
    pictures = full_hd_pictures()
    node = make_node(root, pictures)
    config, size = _config(root, verdict="either"), node.config.transform.resize
    calibrate_stream(config, node.reference)
    judge = Current(config).judge_of(node.reference, "default")
    pixels = read_picture(pictures[0], size, config.upload).pixels(size)
    state = StreamState(node.reference.detector(12).warm())
    for _ in range(12):
        state = judge.update_chart(state, measure(view(pixels)))
    fitted = node.reference.detector(12)

    def chart() -> object:
        seen = judge.update_chart(state, measure(view(pixels)))
        return judge.judge(fitted, seen, Request())[0].to_bytes()

    encoder = node.reference.encoder
    return compare("the lens chart, against the encoder", chart, lambda: encoder(pixels), 0, runs)


def calibration(root: Path) -> Comparison:
    """Configuring from 400 clean pictures that training has encoded, against encoding them."""
    pictures = full_hd_pictures()
    node = make_node(root, pictures)
    config, size = _config(root, verdict="either"), node.config.transform.resize
    pixels = read_picture(pictures[0], size, config.upload).pixels(size)
    encoder = node.reference.encoder

    def measured() -> object:
        measure_all(pixels for _ in range(EMBEDDINGS))
        return calibrate_stream(config, node.reference)

    def encoded() -> object:
        return [encoder(pixels) for _ in range(EMBEDDINGS)]

    return compare("calibrating 400 pictures, against encoding them", measured, encoded, 0, 5)


def detector_update(n: int, d: int, window: int, goal: float, runs: int) -> Comparison:
    """One update of the detector alone."""
    rng = np.random.default_rng(0)
    reference, values = rng.normal(size=(n, d)), rng.normal(size=(window + 2 * runs + 20, d))
    sigma = median_distance(reference)
    ours = MMDStreaming(window, sigma)
    theirs = FrourosMMDStreaming(window, kernel=partial(rbf_kernel, sigma=sigma))
    for detector in (ours, theirs):
        detector.fit(X=reference)
        detector.X_ref = reference
    for value in values[:window]:
        ours.update(value)
        theirs.num_instances += 1
        theirs.X_queue.enqueue(value=value)
    mine, his = iter(values[window:]), iter(values[window:])
    return compare(
        f"detector update, n_ref {n}, d {d}, window {window}",
        lambda: ours.update(next(mine)),
        lambda: theirs.update(value=next(his)),
        goal,
        runs,
    )


def recording(root: Path, runs: int = 60) -> Comparison:
    """Time that recording a job adds to predict, against the published client's three requests."""
    pictures = full_hd_pictures()
    with_job = make_node(root / "on", pictures)
    without = make_node(root / "off", pictures, tracking=False)
    without_picture = dataclasses.replace(
        with_job.config, storage=dataclasses.replace(with_job.config.storage, keep_images=False)
    )
    recorded = Node(without_picture)
    with tracking_server(root) as url:
        experiment = requests.post(
            f"{url}/experiment", json={"name": "bench", "permissions": []}, timeout=10
        ).json()["id"]
        added, trips = [], []
        for round_ in range(runs + 3):
            data = pictures[round_ % len(pictures)]
            on = milliseconds(partial(recorded.observe, data, Request()))
            off = milliseconds(partial(without.observe, data, Request()))
            trip = milliseconds(partial(_three_round_trips, url, experiment))
            if round_ >= 3:
                added.append(on - off)
                trips.append(trip)
    return Comparison(
        "recording a job, against three HTTP round trips",
        max(median(added), 1e-3),
        median(trips),
        5.0,
        runs,
    )


def _three_round_trips(url: str, experiment: str) -> None:
    """Send the published client's three requests of an inference, each on a new connection."""
    job = {
        "job_status": "Running",
        "model": "m",
        "drift_detected": False,
        "parameters": {},
        "tags": [],
    }
    requests.post(f"{url}/experiment/search", json={"name": "bench"}, timeout=10).raise_for_status()
    reply = requests.post(f"{url}/experiment/{experiment}/drift", json=job, timeout=10)
    drift = reply.json()["id"]
    done = {**job, "job_status": "Completed"}
    requests.put(
        f"{url}/experiment/{experiment}/drift/{drift}", json=done, timeout=10
    ).raise_for_status()


class tracking_server:  # noqa: N801 - a context manager, read like a function
    """Our tracking server in a process of its own; gives the address of its API."""

    def __init__(self, root: Path) -> None:
        self.database, self.port = root / "server.db", free_port()

    def __enter__(self) -> str:
        command = [sys.executable, "-m", "lenswatch", "server", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, "--database", f"sqlite:///{self.database}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until_it_answers(self.process, f"http://127.0.0.1:{self.port}/healthz")
        return f"http://127.0.0.1:{self.port}/api/v1"

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(10)


def parent_memory(root: Path) -> float:
    """Resident memory of DEEPaaS' parent process after ten pictures, in MB."""
    pictures = full_hd_pictures()
    make_node(root / "storage", pictures)
    (root / "config.toml").write_text('[tracking]\nurl = ""\n')
    port = free_port()
    process = subprocess.Popen(
        [Path(sys.executable).with_name("deepaas-run"), f"--listen-port={port}"],
        cwd=root,
        env={**os.environ, "LENSWATCH_CONFIG": str(root / "config.toml")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until_it_answers(process, f"http://127.0.0.1:{port}/healthz")
        url = f"http://127.0.0.1:{port}/v2/models/lenswatch/predict/"
        for i in range(10):
            files = {"input_file": pictures[i % len(pictures)]}
            requests.post(url, files=files, timeout=60).raise_for_status()
        return psutil.Process(process.pid).memory_info().rss / 1e6
    finally:
        process.terminate()
        process.wait(10)
        os.killpg(process.pid, signal.SIGKILL) if psutil.pid_exists(process.pid) else None
