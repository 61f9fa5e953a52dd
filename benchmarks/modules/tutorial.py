"""The tutorial's way as a DEEPaaS module, on the reference of the node in the working directory.

Pillow decodes, torchvision scales, torch encodes, and Frouros measures; nothing is recorded or sent.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from frouros.detectors.data_drift import MMDStreaming
from frouros.utils.kernels import rbf_kernel
from PIL import Image
from torchvision import transforms

from benchmarks.modules.noop import get_predict_args
from lenswatch.reference.artefact import load_reference
from lenswatch.reference.autoencoder import TorchEncoder

__all__ = ["get_predict_args", "predict", "warm"]

WINDOW, DRIFT_DISTANCE = 12, 0.1
loaded: dict[str, Any] = {}


def warm() -> None:
    """Load the encoder, and fit the detector to the clean embeddings."""
    reference = load_reference(Path("storage"), light=False)
    assert isinstance(reference.encoder, TorchEncoder)
    detector = MMDStreaming(window_size=WINDOW, kernel=partial(rbf_kernel, sigma=reference.sigma))
    detector.fit(X=reference.embeddings)
    for row in reference.embeddings[:WINDOW]:
        detector.update(value=row)
    size, transform = reference.transform.resize, reference.transform
    steps = [transforms.Resize(size), transforms.ToTensor()]
    prepare = transforms.Compose([*steps, transforms.Normalize(transform.mean, transform.std)])
    loaded.update(encoder=reference.encoder.autoencoder.encoder, prepare=prepare, detector=detector)


def predict(input_file: Any) -> dict[str, Any]:
    """Measure the distance of the last pictures from the clean ones."""
    picture = loaded["prepare"](Image.open(input_file.filename).convert("RGB"))
    with torch.no_grad():
        embedding = loaded["encoder"](picture.unsqueeze(0))[0]
    result, _ = loaded["detector"].update(value=embedding.numpy())
    return {"drift": bool(result.distance > DRIFT_DISTANCE), "distance": float(result.distance)}
