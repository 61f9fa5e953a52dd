"""The files of a reference that torch writes and reads: weights and embeddings."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lenswatch.config import TransformConfig
from lenswatch.errors import ArtefactError
from lenswatch.reference.autoencoder import Autoencoder, TorchEncoder
from lenswatch.reference.encoder import Encoder
from lenswatch.reference.foreign import ForeignEncoder, kind_of_file

__all__ = ["embeddings_bytes", "load_autoencoder", "load_embeddings", "load_encoder"]


def load_encoder(path: Path, transform: TransformConfig, dimensions: int) -> Encoder:
    """Return the encoder of a file: of an autoencoder of ours, or of any other kind that can be adopted."""
    if kind_of_file(path) is not None:
        return ForeignEncoder(path, transform, dimensions)
    return TorchEncoder(load_autoencoder(path, transform.resize), transform)


def embeddings_bytes(embeddings: npt.NDArray[np.float32]) -> bytes:
    """Return the content of a file that `load_embeddings` reads."""
    buffer = io.BytesIO()
    torch.save(torch.from_numpy(np.ascontiguousarray(embeddings)), buffer)
    return buffer.getvalue()


def load_embeddings(path: Path) -> npt.NDArray[np.float32]:
    """Return (n, d) float32 from a tensor of that shape or from a list of (d,) or (1, d) tensors.

    Raises:
        ArtefactError: The file is missing or damaged, or holds something else.
    """
    loaded = _torch_load(path)
    try:
        rows = (
            loaded if torch.is_tensor(loaded) else torch.stack([row.reshape(-1) for row in loaded])
        )
        embeddings = rows.detach().to(torch.float32).numpy()
    except (TypeError, AttributeError, RuntimeError) as error:
        raise ArtefactError(
            f"{path}: holds no embeddings ({error}); give a tensor (n, d) or a list of (d,) tensors"
        ) from None
    if embeddings.ndim != 2 or len(embeddings) < 2 or not np.isfinite(embeddings).all():
        raise ArtefactError(
            f"{path}: holds an array of shape {embeddings.shape}; it must hold two or more embeddings, "
            "(n, d), all of them finite"
        )
    return embeddings


def load_autoencoder(path: Path, size: tuple[int, int]) -> Autoencoder:
    """Return the network whose state dict is in a file, in evaluation mode.

    Args:
        path: The file.
        size: Height and width of the pictures that it is for.

    Raises:
        ArtefactError: The file is missing or damaged, or holds the weights of another network.
    """
    state = _torch_load(path)
    try:
        bias = state["decoder.0.weight"]
        autoencoder = Autoencoder(size, int(bias.shape[1]))
        autoencoder.load_state_dict(state)
    except (KeyError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ArtefactError(
            f"{path}: holds the weights of another network than "
            f"lenswatch.reference.autoencoder.Autoencoder for pictures of {size[0]} x {size[1]} ({reason}); "
            "set [transform] resize to the size it was trained with"
        ) from None
    return autoencoder.eval()


def _torch_load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ArtefactError(
            f"{path}: no such file; `lenswatch adopt` needs both files, otherwise train again"
        ) from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ArtefactError(
            f"{path}: cannot be loaded: {reason}; restore it or train again"
        ) from None
