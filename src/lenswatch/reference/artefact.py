"""The files of a reference: `storage/reference/<digest>/`, never changed, verified when loaded.

A folder holds `autoencoder.pth` (a state dict), `clean_embeddings.pth` ((n, d) float32),
`transform.json`, `bandwidth.json`, `clean_lens.npz` (measurements that the lens chart is fitted to) and
`manifest.json`. The digest covers the first four. The manifest lists the digest of each file, the
training pictures, and the settings and versions that the reference was made with.
`storage/reference/current` names the reference in use.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import pickle
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lenswatch.config import TransformConfig
from lenswatch.detect.chart.features import Measured
from lenswatch.detect.mmd import FittedMMD, median_distance
from lenswatch.errors import ArtefactError
from lenswatch.files import write_atomically
from lenswatch.reference.autoencoder import Autoencoder
from lenswatch.reference.identity import PictureFile
from lenswatch.reference.manifest import (
    BANDWIDTH,
    EMBEDDINGS,
    MANIFEST,
    TRANSFORM,
    WEIGHTS,
    digest_of,
    file_digest,
    read_json,
    verified_manifest,
)
from lenswatch.reference.paths import current_digest, model_version, reference_folder

__all__ = [
    "Reference",
    "list_digest",
    "load_lens",
    "load_pair",
    "load_reference",
    "save_reference",
    "use_reference",
]

LENS = "clean_lens.npz"
# Two embeddings of one picture differ by rounding only: this share of the embeddings' extent.
_SAME = 1e-3


@dataclass(frozen=True)
class Reference:
    """Everything that judging a picture needs, apart from thresholds.

    Attributes:
        autoencoder: The trained network, in evaluation mode.
        embeddings: (n, d) float32, of the clean pictures, in time order.
        transform: Conversion of a picture to the encoder's input.
        sigma: Bandwidth of the Gaussian kernel.
        pictures: The clean pictures, one for each embedding; empty for an adopted pair.
        lens: Measurements of the clean pictures for the lens chart; None for an adopted pair, and after
            loading (`load_lens` reads them).
        digest: Digest of the files, set by saving and loading. It names the folder, and is the model
            version of drift jobs.
        manifest: Contents of `manifest.json`.
    """

    autoencoder: Autoencoder
    embeddings: npt.NDArray[np.float32]
    transform: TransformConfig
    sigma: float
    pictures: tuple[PictureFile, ...] = ()
    lens: Measured | None = None
    digest: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> str:
        """The model version of drift jobs."""
        return model_version(self.digest)

    def nearest(self, embedding: npt.NDArray[np.float32]) -> str | None:
        """Return the path of the clean picture whose embedding is closest to `embedding` (d,)."""
        row = self.nearest_row(embedding)
        return None if row is None else self.pictures[row].path

    def nearest_row(self, embedding: npt.NDArray[np.float32]) -> int | None:
        """Return the number of that picture; None for an adopted pair."""
        if not self.pictures:
            return None
        return int(((self.embeddings - embedding) ** 2).sum(axis=1).argmin())

    def same_pictures(self, digest: str, embedding: npt.NDArray[Any]) -> tuple[int, ...]:
        """Return the numbers of the clean pictures that are the picture with this content.

        Where the reference lists no digests, embeddings tell: only the same picture has the same one.

        Args:
            digest: SHA-256 of the picture's file.
            embedding: (d,), of the picture.
        """
        if self.pictures and all(picture.sha256 for picture in self.pictures):
            return self._rows.get(digest, ())
        away = np.sqrt(((self.embeddings - embedding) ** 2).sum(axis=1))
        return tuple(np.flatnonzero(away <= _SAME * self._extent).tolist())

    @functools.cached_property
    def _rows(self) -> Mapping[str, tuple[int, ...]]:
        rows: dict[str, tuple[int, ...]] = {}
        for row, picture in enumerate(self.pictures):
            rows[picture.sha256] = (*rows.get(picture.sha256, ()), row)
        return rows

    @functools.cached_property
    def _extent(self) -> float:
        """Root mean square distance of the embeddings from their mean."""
        return float(np.sqrt(self.embeddings.astype(np.float64).var(axis=0).sum()))

    def detector(self, window_size: int) -> FittedMMD:
        """Return the MMD detector of this reference."""
        return FittedMMD.fit(self.embeddings, window_size, self.sigma)


def save_reference(
    storage: Path, reference: Reference, manifest: Mapping[str, Any], *, make_current: bool = True
) -> Reference:
    """Write a reference to a temporary folder, rename it into place, then make it current.

    The same encoder, embeddings, transform and bandwidth have the same digest and are kept once.
    The manifest then gets the pictures' paths as they are now.

    Args:
        storage: The storage folder.
        reference: The reference to save.
        manifest: What to add to the manifest.
        make_current: False leaves the reference in use as it is; `use_reference` changes it later.

    Returns:
        The reference with its digest and manifest.

    Raises:
        OSError: The folder cannot be made.
        WriteError: A file cannot be written.
    """
    folder = reference_folder(storage)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
    try:
        for name, content in _contents(reference).items():
            write_atomically(temporary / name, content)
        files = {path.name: file_digest(path) for path in sorted(temporary.iterdir())}
        digest = digest_of(files)
        pictures = [picture.to_json() for picture in reference.pictures]
        document = {"digest": digest, "files": files, "pictures": pictures, **manifest}
        write_atomically(temporary / MANIFEST, json.dumps(document, indent=2).encode())
        temporary.chmod(0o755)
        _rename_into_place(temporary, folder / digest, pictures)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if make_current:
        use_reference(storage, digest)
    return dataclasses.replace(reference, digest=digest, manifest=document)


def use_reference(storage: Path, digest: str) -> None:
    """Make a saved reference the current one.

    Raises:
        WriteError: The file that names it cannot be written.
    """
    write_atomically(reference_folder(storage) / "current", digest.encode())


def load_reference(storage: Path, digest: str | None = None) -> Reference:
    """Load and verify a reference: the current one, unless `digest` names another.

    Raises:
        ArtefactError: There is none, or a file is missing, cut off or not the one that was saved.
    """
    digest = digest or current_digest(storage)
    if digest is None:
        raise ArtefactError(
            f"{storage}: there is no reference yet; make one with `lenswatch train`"
        )
    folder = reference_folder(storage) / digest
    manifest = verified_manifest(folder, digest)
    transform = _transform(folder / TRANSFORM)
    embeddings = _load_embeddings(folder / EMBEDDINGS)
    return Reference(
        autoencoder=_load_autoencoder(folder / WEIGHTS, transform.resize),
        embeddings=embeddings,
        transform=transform,
        sigma=float(read_json(folder / BANDWIDTH)["sigma"]),
        pictures=_pictures(folder, manifest, len(embeddings)),
        digest=digest,
        manifest=manifest,
    )


def load_lens(storage: Path, digest: str) -> Measured | None:
    """Return the measurements that the lens chart of a reference is fitted to, if there are any."""
    path = reference_folder(storage) / digest / LENS
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as kept:
        return Measured(kept["cells"], kept["thumbs"])


def load_pair(
    weights: Path, embeddings: Path, transform: TransformConfig, sigma: float | None
) -> Reference:
    """Load a reference from the two files that the DriftWatch tutorial's code saves.

    Args:
        weights: State dict of a `lenswatch.reference.autoencoder.Autoencoder`.
        embeddings: An (n, d) tensor or a list of (1, d) tensors.
        transform: Conversion of a picture to the encoder's input.
        sigma: Bandwidth of the kernel; None fits it by the median heuristic.

    Raises:
        ArtefactError: A file is missing or damaged, or the two do not fit together.
        BlindKernelError: The kernel cannot tell two embeddings apart.
    """
    loaded = _load_embeddings(embeddings)
    autoencoder = _load_autoencoder(weights, transform.resize)
    if autoencoder.latent_dim != loaded.shape[1]:
        raise ArtefactError(
            f"{embeddings}: embeddings of {loaded.shape[1]} dimensions, but the encoder in {weights} "
            f"makes {autoencoder.latent_dim}; give the pair that one training saved"
        )
    sigma = sigma or median_distance(loaded.astype(np.float64))
    FittedMMD.fit(loaded, sigma=sigma)  # raises BlindKernelError
    return Reference(autoencoder, loaded, transform, sigma)


def list_digest(digests: Iterable[str]) -> str:
    """Return the digest of a list of pictures' digests, in order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _contents(reference: Reference) -> dict[str, bytes]:
    transform = dataclasses.asdict(reference.transform)
    if not transform["sample_bits"]:
        del transform["sample_bits"]  # a reference without it keeps the digest that it always had
    lens = {} if reference.lens is None else {LENS: _lens_bytes(reference.lens)}
    return lens | {
        WEIGHTS: _torch_bytes(reference.autoencoder.state_dict()),
        EMBEDDINGS: _torch_bytes(torch.from_numpy(np.ascontiguousarray(reference.embeddings))),
        TRANSFORM: json.dumps(transform, sort_keys=True).encode(),
        BANDWIDTH: json.dumps({"kernel": "gaussian", "sigma": reference.sigma}).encode(),
    }


def _lens_bytes(lens: Measured) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, cells=lens.cells, thumbs=lens.thumbs)
    return buffer.getvalue()


def _torch_bytes(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _rename_into_place(temporary: Path, target: Path, pictures: list[dict[str, str]]) -> None:
    try:
        temporary.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        kept = verified_manifest(target, target.name)  # the same content is there already
        if pictures and pictures != kept.get(
            "pictures"
        ):  # renamed since, or listed without digests
            document = json.dumps(kept | {"pictures": pictures}, indent=2)
            write_atomically(target / MANIFEST, document.encode())


def _pictures(
    folder: Path, manifest: Mapping[str, Any], embeddings: int
) -> tuple[PictureFile, ...]:
    try:
        pictures = PictureFile.all_from_json(manifest.get("pictures", []))
    except ArtefactError as error:
        raise ArtefactError(f"{folder / MANIFEST}: {error}") from None
    if 0 < len(pictures) < embeddings:
        raise ArtefactError(
            f"{folder / MANIFEST}: lists {len(pictures)} pictures for {embeddings} embeddings; "
            "restore it or train again"
        )
    return pictures


def _transform(path: Path) -> TransformConfig:
    document = read_json(path)
    given: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in document.items()
    }
    return TransformConfig(**given)


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


def _load_embeddings(path: Path) -> npt.NDArray[np.float32]:
    """Return (n, d) float32 from a tensor of that shape or from a list of (d,) or (1, d) tensors."""
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


def _load_autoencoder(path: Path, size: tuple[int, int]) -> Autoencoder:
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
