"""A reference for people without Lenswatch: safetensors, ONNX, and a model card.

The folder is laid out as the Hugging Face Hub expects a model's repository.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from safetensors.torch import save

from lenswatch.errors import InputError, WriteError
from lenswatch.files import write_atomically
from lenswatch.reference.artefact import Reference
from lenswatch.reference.autoencoder import TorchEncoder
from lenswatch.reference.light import have_light, read_light

__all__ = ["CARD", "MODEL", "TENSORS", "publish"]

CARD, TENSORS, MODEL, SETTINGS = "README.md", "model.safetensors", "model.onnx", "config.json"


def publish(storage: Path, reference: Reference, folder: Path) -> list[str]:
    """Write a reference into a folder, and return the names of the files.

    Args:
        storage: The storage folder.
        reference: A reference with its encoder in torch.
        folder: The folder; it is made, and files of the same names in it are replaced.

    Raises:
        InputError: The encoder is not Lenswatch's own, so that its file is of another kind.
        WriteError: A file cannot be written.
    """
    encoder = reference.encoder
    if not isinstance(encoder, TorchEncoder):
        raise InputError(
            f"reference {reference.digest}: has an encoder of your own, which is in autoencoder.pth "
            "as it came; only Lenswatch's own can be written as safetensors"
        )
    state = encoder.autoencoder.state_dict()
    tensors = {name: value.contiguous() for name, value in state.items()}
    tensors["clean_embeddings"] = torch.from_numpy(reference.embeddings.copy())
    files = {TENSORS: save(tensors, {"format": "pt", "reference": reference.digest})}
    if have_light(storage, reference.digest):
        files[MODEL] = read_light(storage, reference.digest).model
    about = {"kernel": "gaussian", "sigma": reference.sigma, "reference": reference.digest}
    about |= {
        "transform": dataclasses.asdict(reference.transform),
        "lenswatch": metadata.version("lenswatch"),
    }
    files[SETTINGS] = json.dumps(about, indent=2).encode()
    files[CARD] = _card(reference, onnx=MODEL in files).encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"{folder}: cannot be made: {error.strerror}") from None
    for name, content in files.items():
        write_atomically(folder / name, content)
    return list(files)


def _card(reference: Reference, *, onnx: bool) -> str:
    manifest = reference.manifest
    height, width = reference.transform.resize
    detector = (manifest.get("configuration") or {}).get("detector") or {}
    loader = PackageLoader("lenswatch.reference")
    # A card is Markdown, of numbers and of our own words.
    environment = Environment(
        loader=loader, undefined=StrictUndefined, trim_blocks=True, autoescape=False
    )
    return environment.get_template("card.md").render(
        digest=reference.digest,
        tensors=TENSORS,
        model=MODEL,
        settings=SETTINGS,
        onnx=onnx,
        pictures=len(reference.embeddings),
        dimensions=reference.embeddings.shape[1],
        height=height,
        width=width,
        window=detector.get("window_size", "few"),
        sigma=reference.sigma,
        facts=_facts(manifest),
    )


def _facts(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return what the manifest says of the training, a line each."""
    taken = sorted(each["taken"] for each in manifest.get("pictures") or () if "taken" in each)
    environment = manifest.get("environment") or {}
    found = {
        "made": manifest.get("created_at"),
        "source": manifest.get("source"),
        "clean pictures taken": f"{taken[0]} to {taken[-1]}" if taken else None,
        "digest of the pictures' content": manifest.get("pictures_digest"),
        "settings": _line((manifest.get("configuration") or {}).get("encoder")),
        "metrics": _line(manifest.get("metrics")),
        "code": _line(manifest.get("code")),
        "packages": _line(manifest.get("versions")),
        "digest of all pins": environment.get("digest"),
    }
    return {name: str(value) for name, value in found.items() if value}


def _line(values: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in (values or {}).items())
