"""Lenswatch itself as a detector: the whole node, from decoded image to answer.

Reference, calibration and database are in a temporary folder, and nothing is sent. The one difference
from a node in service is that no commit waits for the disk.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lenswatch.config import AlarmConfig, Config, EncoderConfig, StorageConfig, TrackingConfig
from lenswatch.detect.arrays import Pixels
from lenswatch.detect.chart.features import measure_all
from lenswatch.detect.mmd import median_distance
from lenswatch.detect.verdict import VOTING, Rule
from lenswatch.evaluate.encoding import Encoder, encoder_for, scaled
from lenswatch.node.calibrate import calibrate_stream
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.node.store.store import NodeStore
from lenswatch.reference.artefact import Reference, save_reference
from lenswatch.reference.autoencoder import TorchEncoder
from lenswatch.reference.paths import node_database
from lenswatch.reference.pictures import Picture

__all__ = ["Ours", "make_chart", "make_detector", "make_mmd"]

_STREAM = "evaluated"
_VALUES = {"mmd": ("distance", "drift_distance"), "chart": ("score", "drift_score")}


class Ours:
    """A detector around a node. Its score is the largest ratio of value to threshold.

    Statistics that the rule leaves out of the verdict are left out of the score.
    """

    threshold = 1.0

    def __init__(self, node: Node, rule: Rule, folder: Path) -> None:
        self._node, self._rule = node, rule
        weakref.finalize(self, _discard, node, folder)

    def reset(self) -> None:
        """Forget the stream, so that the next image starts a new one."""
        self._node.reset(_STREAM)

    def update(self, image: Pixels) -> tuple[float | None, bool, bool]:
        """Take one more image and return (score, warning, drift)."""
        answer = self._node.observe(Picture.of(image), Request(stream=_STREAM))
        return self._ratio(answer), bool(answer["warning"]), bool(answer["drift"])

    def _ratio(self, answer: dict[str, Any]) -> float | None:
        found = []
        for statistic in VOTING[self._rule]:
            value, threshold = (answer[key] for key in _VALUES[statistic])
            if value is not None and threshold is not None and threshold > 0:
                found.append(value / threshold)
        return max(found, default=None)


def make_detector(
    clean_images: Sequence[Pixels], target_ert: float, seed: int, encoder: Encoder | None = None
) -> Ours:
    """Make Lenswatch from clean images (h, w, 3) uint8, all of one size, in time order."""
    return _make(clean_images, target_ert, seed, encoder, "either")


def make_chart(
    clean_images: Sequence[Pixels], target_ert: float, seed: int, encoder: Encoder | None = None
) -> Ours:
    """Make a detector of the lens chart alone."""
    return _make(clean_images, target_ert, seed, encoder, "chart")


def make_mmd(
    clean_images: Sequence[Pixels], target_ert: float, seed: int, encoder: Encoder | None = None
) -> Ours:
    """Make a detector of the MMD distance alone."""
    return _make(clean_images, target_ert, seed, encoder, "mmd")


def _make(
    clean: Sequence[Pixels], ert: float, seed: int, shared: Encoder | None, rule: Rule
) -> Ours:
    encoder = encoder_for(clean, seed, shared)
    folder = Path(tempfile.mkdtemp(prefix="lenswatch-evaluate-"))
    config = Config(
        encoder=EncoderConfig(seed=seed),
        alarm=AlarmConfig(expected_run_time=ert, verdict=rule),
        storage=StorageConfig(path=str(folder), keep_images=False),
        tracking=TrackingConfig(url=""),
        root=folder,
    )
    reference = save_reference(config.storage_path, _reference(clean, encoder), {})
    calibrate_stream(config, reference)
    store = NodeStore(node_database(config.storage_path), keep_outbox=False, durable=False)
    return Ours(Node(config, store), rule, folder)


def _discard(node: Node, folder: Path) -> None:
    node.store.close()
    shutil.rmtree(folder, ignore_errors=True)


def _reference(clean: Sequence[Pixels], encoder: Encoder) -> Reference:
    """Return the reference that training on these images would leave."""
    return Reference(
        encoder=TorchEncoder(encoder.autoencoder, encoder.transform),
        embeddings=encoder.embeddings,
        transform=encoder.transform,
        sigma=median_distance(encoder.embeddings.astype(np.float64)),
        lens=measure_all(scaled(image, encoder.transform) for image in clean),
    )
