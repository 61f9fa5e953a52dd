"""The extractor of features: a reference on its way to worker processes, which need no storage folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from lenswatch.config import Config, UploadConfig
from lenswatch.detect.arrays import Floats32, Pixels
from lenswatch.detect.mmd import FittedMMD
from lenswatch.node.features import Features, features_of
from lenswatch.reference.artefact import Reference
from lenswatch.reference.encoder import Encoder
from lenswatch.reference.light import read_light
from lenswatch.reference.pictures import read_picture

__all__ = ["Extractor", "extractor_of"]


@dataclass(frozen=True)
class Extractor:
    """All that a worker needs to look at pictures: a reference without its encoder, and the encoder's file.

    Attributes:
        reference: The reference; its encoder is made by `ready`.
        fitted: Its detector.
        model: The encoder as ONNX; None for the one in torch.
        weights: The content of `autoencoder.pth`, for torch.
        limits: Limits of the pictures that are read.
        thumbnails: Make a small JPEG of each picture.
    """

    reference: Reference
    fitted: FittedMMD
    model: bytes | None
    weights: bytes
    limits: UploadConfig
    thumbnails: bool

    @property
    def variant(self) -> str:
        """A name that is the same only for what finds the same features in all pictures."""
        reduction = self.fitted.reduction
        parts = {
            "version": version("lenswatch"),
            "form": "torch" if self.model is None else hashlib.sha256(self.model).hexdigest(),
            "limits": dataclasses.asdict(self.limits),
            "samples": 0 if reduction is None else len(reduction.samples),
            "thumbnails": self.thumbnails,
        }
        text = json.dumps(parts, sort_keys=True).encode()
        return f"{self.reference.digest}-{hashlib.sha256(text).hexdigest()[:12]}"

    def ready(self) -> Extractor:
        """Return it with its encoder, in a worker.

        Raises:
            ArtefactError: The encoder cannot be used.
        """
        return dataclasses.replace(
            self, reference=dataclasses.replace(self.reference, encoder=self._encoder())
        )

    def features(self, data: bytes) -> Features:
        """Return the features of a picture's file.

        Raises:
            InputError: It cannot be used.
        """
        transform = self.reference.transform
        picture = read_picture(data, transform.resize, self.limits, transform.sample_bits)
        return features_of(picture, self.reference, self.fitted, thumbnail=self.thumbnails)

    def _encoder(self) -> Encoder:
        if self.model is not None:
            from lenswatch.reference.onnx_encoder import OnnxEncoder

            return OnnxEncoder(self.model, Path())
        import torch

        from lenswatch.reference.torch_files import load_encoder

        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "autoencoder.pth"
            file.write_bytes(self.weights)
            return load_encoder(file, self.reference.transform, self.fitted.dimensions)


def extractor_of(
    config: Config, reference: Reference, fitted: FittedMMD, *, thumbnails: bool = False
) -> Extractor:
    """Return the extractor of a loaded reference, with the encoder that the live path uses.

    Raises:
        ArtefactError: The reference is damaged.
    """
    onnx = sys.modules.get("lenswatch.reference.onnx_encoder")
    light = onnx is not None and isinstance(reference.encoder, onnx.OnnxEncoder)
    model = read_light(config.storage_path, reference.digest).model if light else None
    bare = dataclasses.replace(reference, encoder=_NoEncoder(), lens=None, manifest={})
    weights = b"" if light else reference.encoder.weights()
    return Extractor(bare, fitted, model, weights, config.upload, thumbnails)


class _NoEncoder:
    """The place of the encoder on its way to a worker, which makes it of a file."""

    def __call__(self, _pixels: Pixels, /) -> Floats32:
        raise NotImplementedError

    def weights(self) -> bytes:
        raise NotImplementedError
