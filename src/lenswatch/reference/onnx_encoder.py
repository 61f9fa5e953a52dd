"""The encoder as an ONNX model, run by onnxruntime: a tenth of torch's memory, and half of its time.

The model takes pixels as they are: their normalisation is part of its first convolution.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lenswatch.detect.arrays import Floats32, Pixels
from lenswatch.errors import ArtefactError
from lenswatch.reference.onnx import onnxruntime

__all__ = ["OUTPUT", "PIXELS", "OnnxEncoder"]

PIXELS, OUTPUT = "pixels", "embeddings"  # names of the model's input and output
_ERRORS_ONLY = 3  # of onnxruntime's levels of logging


class OnnxEncoder:
    """An ONNX model as a `lenswatch.reference.encoder.Encoder`.

    It uses one thread and encodes one picture at a time, so that an embedding does not depend on the pictures
    beside it or on the machine's load.

    Args:
        model: The model, as the bytes of a file.
        weights: `autoencoder.pth` with the weights that it was made of.

    Raises:
        ArtefactError: onnxruntime cannot use the model.
    """

    def __init__(self, model: bytes, weights: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = _ERRORS_ONLY
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no common class
            reason = " ".join(str(error).split())[:300]
            raise ArtefactError(
                f"onnxruntime {onnxruntime.__version__} cannot use the encoder: {reason}"
            ) from None
        self._weights = weights

    def __call__(self, pixels: Pixels, /) -> Floats32:
        """Return the embedding, (d,), of (height, width, 3) uint8."""
        (embeddings,) = self._session.run([OUTPUT], {PIXELS: pixels[None]})
        return np.asarray(embeddings[0], np.float32)

    def weights(self) -> bytes:
        """Return the content of the file with the weights.

        Raises:
            ArtefactError: It cannot be read.
        """
        try:
            return self._weights.read_bytes()
        except OSError as error:
            raise ArtefactError(
                f"{self._weights}: cannot be read: {error.strerror}; restore it or train again"
            ) from None
