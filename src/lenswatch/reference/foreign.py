"""Encoders that were not made by Lenswatch: TorchScript, `torch.export` and ONNX files.

The file itself is kept as the reference's weights, and its content tells what it is. It takes pictures as
(n, 3, height, width) float32, normalised by the reference's transform. Of several outputs the one with the
length of an embedding is taken: an autoencoder may answer with its reconstruction too.
"""

from __future__ import annotations

import importlib
import io
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from lenswatch.config import TransformConfig
from lenswatch.detect.arrays import Floats32, Pixels
from lenswatch.errors import ArtefactError
from lenswatch.reference.pictures import encoder_input

__all__ = ["ForeignEncoder", "exported", "kind_of_file"]

Kind = Literal["onnx", "torchscript", "torch.export"]
_Run = Callable[[Floats32], Sequence[Any]]


def kind_of_file(path: Path) -> Kind | None:
    """Return the kind of an encoder's file; None for a state dict, and for what is no encoder."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] or name for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile):
        # ONNX is a protobuf, whose first field is the version of the format.
        return "onnx" if path.is_file() and path.read_bytes()[:1] == b"\x08" else None
    if any(name.startswith("code/") for name in names):
        return "torchscript"
    programs = ("serialized_exported_program.json", "models/model.json")
    return "torch.export" if any(name in programs for name in names) else None


class ForeignEncoder:
    """An encoder's file as a `lenswatch.reference.encoder.Encoder`.

    Args:
        path: The file.
        transform: Conversion of a picture to its input.
        dimensions: Length of an embedding.

    Raises:
        ArtefactError: The file cannot be used, or makes no embeddings of that length.
    """

    def __init__(self, path: Path, transform: TransformConfig, dimensions: int) -> None:
        self._path = path
        self._transform = transform
        self._dimensions = dimensions
        kind = kind_of_file(path)
        if kind is None:
            raise ArtefactError(f"{path}: is no TorchScript, torch.export or ONNX file")
        try:
            self._run = _RUNNERS[kind](path)
            self(np.zeros((*transform.resize, 3), np.uint8))
        except ArtefactError:
            raise
        except Exception as error:  # of torch, of onnxruntime, of the network itself
            reason = " ".join(str(error).split())[:300]
            raise ArtefactError(f"{path}: cannot be used as {kind}: {reason}") from None

    def __call__(self, pixels: Pixels, /) -> Floats32:
        """Return the embedding, (d,), of (height, width, 3) uint8."""
        outputs = self._run(encoder_input(pixels, self._transform)[None])
        rows = [np.asarray(each, np.float32).reshape(-1) for each in outputs]
        for row in rows:
            if len(row) == self._dimensions:
                return row
        lengths = ", ".join(str(len(row)) for row in rows)
        raise ArtefactError(
            f"{self._path}: makes {lengths} values of a picture, but the embeddings have "
            f"{self._dimensions}; give the encoder that made them, and its size as [transform] resize"
        )

    def weights(self) -> bytes:
        """Return the file."""
        return self._path.read_bytes()


def exported(named: str, weights: Path, size: tuple[int, int]) -> bytes:
    """Return a network of the user's own as a file of `torch.export`.

    Args:
        named: `module:Class` or `module:function`, which is called without arguments.
        weights: State dict of that network.
        size: Height and width of the pictures.

    Raises:
        ArtefactError: It cannot be imported, does not fit to the weights, or cannot be exported.
    """
    module, _, attribute = named.partition(":")
    buffer = io.BytesIO()
    try:
        network = getattr(importlib.import_module(module), attribute)()
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        made = torch.export.export(network.eval(), (torch.zeros(1, 3, *size),))
        torch.export.save(made, buffer)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ArtefactError(f"{named} with {weights}: {reason or type(error).__name__}") from None
    return buffer.getvalue()


def _by_torch(network: Any) -> _Run:
    def run(planes: Floats32) -> Sequence[Any]:
        with torch.inference_mode():
            found = network(torch.from_numpy(planes))
        outputs = found if isinstance(found, tuple | list) else (found,)
        return [each.numpy() for each in outputs]

    return run


def _torchscript(path: Path) -> _Run:
    jit: Any = torch.jit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch would rather have torch.export
        return _by_torch(jit.load(str(path), map_location="cpu").eval())


def _exported(path: Path) -> _Run:
    with path.open("rb") as file:
        return _by_torch(torch.export.load(io.BytesIO(file.read())).module())


def _onnx(path: Path) -> _Run:
    from lenswatch.reference.onnx import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda planes: list(session.run(None, {name: planes}))


_RUNNERS: dict[Kind, Callable[[Path], _Run]] = {
    "onnx": _onnx,
    "torchscript": _torchscript,
    "torch.export": _exported,
}
