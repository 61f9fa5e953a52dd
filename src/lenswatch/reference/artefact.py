"""The files of a reference: `storage/reference/<digest>/`, never changed, verified when loaded.

A folder holds `autoencoder.pth` (a state dict), `clean_embeddings.pth` ((n, d) float32),
`transform.json`, `bandwidth.json`, `clean_lens.npz` (measurements that the lens chart is fitted to) and
`manifest.json`. The digest covers the first four. `light.zip` beside them holds what serving needs without
torch (`lenswatch.reference.light`). The manifest lists the digest of each file, the
training pictures, and the settings and versions that the reference was made with.
`storage/reference/current` names the reference in use.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import logging
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lenswatch.config import TransformConfig
from lenswatch.detect.chart.features import Measured
from lenswatch.detect.mmd import FittedMMD
from lenswatch.detect.nearest import Nearest
from lenswatch.errors import ArtefactError
from lenswatch.files import write_atomically
from lenswatch.reference.encoder import Encoder
from lenswatch.reference.identity import PictureFile
from lenswatch.reference.light import Light, can_run, have_light, read_light
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
from lenswatch.reference.paths import (
    CURRENT,
    SHADOW,
    current_digest,
    model_version,
    reference_folder,
)

__all__ = [
    "Reference",
    "end_shadow",
    "list_digest",
    "load_lens",
    "load_reference",
    "put_into_place",
    "save_reference",
    "shadow_reference",
    "use_reference",
]

log = logging.getLogger(__name__)

LENS = "clean_lens.npz"
# Two embeddings of one picture differ by rounding only: this share of the embeddings' extent.
_SAME = 1e-3


@dataclass(frozen=True)
class Reference:
    """Everything that judging a picture needs, apart from thresholds.

    Attributes:
        encoder: The trained encoder, run by onnxruntime if possible, otherwise by torch.
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

    encoder: Encoder
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
        return self._nearest.row(embedding)

    @functools.cached_property
    def _nearest(self) -> Nearest:
        return Nearest(self.embeddings)

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
        if not put_into_place(temporary, folder / digest):
            _list_pictures(folder / digest, pictures)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if make_current:
        use_reference(storage, digest)
    return dataclasses.replace(reference, digest=digest, manifest=document)


def put_into_place(temporary: Path, target: Path) -> bool:
    """Rename the folder of a new reference; return False if the same reference is there already.

    Raises:
        ArtefactError: The one that is there is damaged.
        OSError: It cannot be renamed.
    """
    temporary.chmod(0o755)
    try:
        temporary.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        verified_manifest(target, target.name)
        return False
    return True


def use_reference(storage: Path, digest: str) -> None:
    """Make a saved reference the current one. It is no longer in shadow then.

    Raises:
        WriteError: The file that names it cannot be written.
    """
    write_atomically(reference_folder(storage) / CURRENT, digest.encode())
    if current_digest(storage, SHADOW) == digest:
        end_shadow(storage)


def shadow_reference(storage: Path, digest: str) -> None:
    """Let a saved and calibrated reference judge beside the current one, instead of any other.

    Raises:
        WriteError: The file that names it cannot be written.
    """
    write_atomically(reference_folder(storage) / SHADOW, digest.encode())


def end_shadow(storage: Path) -> None:
    """Let no reference judge in shadow."""
    (reference_folder(storage) / SHADOW).unlink(missing_ok=True)


def load_reference(storage: Path, digest: str | None = None, *, light: bool = True) -> Reference:
    """Load and verify a reference: the current one, unless `digest` names another.

    Its encoder is the ONNX model of its light form if it has one and onnxruntime is installed. Then torch is
    not imported.

    Args:
        storage: The storage folder.
        digest: The reference.
        light: False takes the encoder of torch in any case.

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
    encoder, embeddings = (light and _light(storage, digest)) or _by_torch(folder, transform)
    return Reference(
        encoder=encoder,
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


def list_digest(digests: Iterable[str]) -> str:
    """Return the digest of a list of pictures' digests, in order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _light(storage: Path, digest: str) -> tuple[Encoder, npt.NDArray[np.float32]] | None:
    """Return encoder and embeddings of the light form; None if there is none that can be used."""
    if not (have_light(storage, digest) and can_run()):
        return None
    from lenswatch.reference.onnx_encoder import OnnxEncoder

    try:
        found: Light = read_light(storage, digest)
        weights = reference_folder(storage) / digest / WEIGHTS
        return OnnxEncoder(found.model, weights), found.embeddings
    except ArtefactError as error:
        said = str(error)
    log.warning("%s; torch is used instead", said)
    return None


def _by_torch(folder: Path, transform: TransformConfig) -> tuple[Encoder, npt.NDArray[np.float32]]:
    """Return encoder and embeddings as torch loads them."""
    try:
        from lenswatch.reference import torch_files
    except ModuleNotFoundError as error:
        missing = error.name
    else:
        embeddings = torch_files.load_embeddings(folder / EMBEDDINGS)
        dimensions = int(embeddings.shape[1])
        return torch_files.load_encoder(folder / WEIGHTS, transform, dimensions), embeddings
    raise ArtefactError(
        f"{folder}: has no light form that can be used here, and {missing} is not installed; "
        "`lenswatch reference export` it where that is, and `lenswatch reference import` it here"
    )


def _contents(reference: Reference) -> dict[str, bytes]:
    from lenswatch.reference.torch_files import embeddings_bytes

    transform = dataclasses.asdict(reference.transform)
    if not transform["sample_bits"]:
        del transform["sample_bits"]  # a reference without it keeps the digest that it always had
    lens = {} if reference.lens is None else {LENS: _lens_bytes(reference.lens)}
    return lens | {
        WEIGHTS: reference.encoder.weights(),
        EMBEDDINGS: embeddings_bytes(reference.embeddings),
        TRANSFORM: json.dumps(transform, sort_keys=True).encode(),
        BANDWIDTH: json.dumps({"kernel": "gaussian", "sigma": reference.sigma}).encode(),
    }


def _lens_bytes(lens: Measured) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, cells=lens.cells, thumbs=lens.thumbs)
    return buffer.getvalue()


def _list_pictures(folder: Path, pictures: list[dict[str, str]]) -> None:
    """Let a manifest list its pictures as they are now: renamed, or listed without digests before."""
    kept = read_json(folder / MANIFEST)
    if pictures and pictures != kept.get("pictures"):
        document = json.dumps(kept | {"pictures": pictures}, indent=2)
        write_atomically(folder / MANIFEST, document.encode())


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
