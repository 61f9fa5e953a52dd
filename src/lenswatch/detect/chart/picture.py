"""The last picture of a stream beside its clean look: what changed, where, and what it resembles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lenswatch.detect.arrays import Floats, Floats32, Pixels
from lenswatch.detect.chart.features import AGREEMENT, CHANNELS, agreement
from lenswatch.detect.chart.looks import Look

__all__ = ["LastPicture", "covered", "named", "unit"]

_COLOURS = [CHANNELS.index(name) for name in ("blue", "red")]
_LIGHT = [CHANNELS.index(name) for name in ("luma", "blue", "red")]
_NOISE = CHANNELS.index("noise")
_STRUCTURE = [CHANNELS.index(name) for name in ("contrast", "sharpness", "noise")]
_MOST = 3  # names of signatures
_ALIKE = 0.35  # cosine from which on a further signature counts
_WHOLLY = 0.66  # cosine from which on a fault of the whole picture explains the change
_PARTLY = 0.75  # cosine below which a fault of the whole picture may be one of a part of it
_ABSENT = 0.2  # share of the cells in which such a fault should show and does not
_ABSENT_BLUR = (
    0.35  # the same of a blur: large pixels that end where a cell ends leave some as they were
)
_BLURRED = 0.4  # cosine from which on a blur is none of a few cells
_FINE = [CHANNELS.index(name) for name in ("sharpness", "noise")]
_COARSE = [CHANNELS.index(name) for name in ("luma", "contrast")]
_SLIGHTLY = 0.55  # cosine of a slight blur, before which something moves
_FALLEN, _KEPT = -1.0, 0.8  # deviations of the whole picture: it takes what is fine, and no light
_UNLIT = 0.18  # share of light and colour in the change: a blur changes neither
_SURELY = 0.85  # cosine
_INTACT = 2.5  # deviations: cells with less are as they were
_SOME = 0.1  # share of the picture
_HIDDEN = 0.3  # agreement with the clean scene below which it cannot be recognised
_MUCH = 0.2  # share of the picture that is hidden: it is covered, not partly so
_LITTLE = 0.08  # share of the picture that is hidden: it is partly covered
_UNLIKE = 0.5  # cosine below which that is what changed
_STRANGE, _MOST_INTACT = (
    0.4,
    0.4,
)  # cosine, share of the picture: something transparent covers a part
_MOST_CHANGED = 0.15  # share of the cells whose colour tells a tint
_TINT = 5.0  # levels of Cb and Cr
_MOSTLY = 0.4  # share of the picture with a colour of its own: it is covered, not partly so
_VIVID = 2.0  # times the colour of a cell: more light does not add more
_ASKED = 2.5  # deviations: a cell in which a fault should show
_GRAINS, _GRAINIER = 10.0, 4.0  # grey levels of noise, and times the usual noise
_CLEANER = 0.8  # times the deviations of the picture: less are left if it is turned round
_LIT = 40.0  # luma: a darker picture may hide the scene in its noise


@dataclass(frozen=True)
class LastPicture:
    """The last picture of a stream.

    Attributes:
        look: The clean look that it is compared with.
        cells: (8, 8, 10), its channels and its agreement with the scene.
        thumb: (64, 80) uint8, its luma.
    """

    look: Look
    cells: Floats32
    thumb: Pixels

    @cached_property
    def change(self) -> Floats:
        """(7, 8, 10) deviations without the modes."""
        return np.asarray(self.look.scales.without_modes(self.cells[None])[0])

    @cached_property
    def closest(self) -> tuple[str, float]:
        """Name and cosine of the signature that the change resembles most."""
        return named(self.look, unit(self.change))[0]

    @cached_property
    def deviations(self) -> Floats:
        """(7, 8, 10) deviations."""
        return np.asarray(self.look.scales.deviations(self.cells[None])[0])

    @cached_property
    def away(self) -> Floats:
        """(8, 10) largest deviation of each cell."""
        return np.asarray(np.abs(self.deviations).max(axis=0))

    @property
    def changed(self) -> NDArray[np.bool_]:
        """(8, 10) True for cells that are not as they were."""
        return np.asarray(self.away >= _INTACT)

    @property
    def intact(self) -> float:
        """Share of the cells that are as they were."""
        return float((self.away < _INTACT).mean())

    @cached_property
    def hidden(self) -> float:
        """Share of the cells in which the scene cannot be recognised; less is asked where that is usual."""
        least = np.minimum(_HIDDEN, self.look.agreement / 2)
        seen = agreement(self.thumb, self.look.scene)
        return float(((seen < least) & self.changed).mean())

    @cached_property
    def absent(self) -> float:
        """Share of cells that are as they were, of those in which the closest fault should show.

        A lens that is out of focus blurs all that has structure; a film blurs what is behind it.
        """
        _, directions = self.look.signatures
        likeness = directions @ self.change.ravel()
        best = int(likeness.argmax())
        shown = likeness[best] * directions[best].reshape(self.change.shape)
        wanted = np.abs(shown).max(axis=0) > _ASKED
        return float((self.away[wanted] < _INTACT).mean()) if wanted.any() else 0.0

    @cached_property
    def own_colour(self) -> NDArray[np.bool_]:
        """(8, 10) True for cells with a colour that is neither the scene's nor grey, and other structure."""
        before, now = self.look.scales.median[_COLOURS], self.cells[_COLOURS]
        along = (now * before).sum(axis=0) / np.maximum((before * before).sum(axis=0), 1e-9)
        strange = np.linalg.norm(now - np.clip(along, 0, _VIVID) * before, axis=0) > _TINT
        other = np.abs(self.deviations[_STRUCTURE]).max(axis=0) >= _INTACT
        return np.asarray(strange & other)

    @property
    def overgrown(self) -> bool:
        """True if the changed cells have, on the whole, a colour that is neither the scene's nor grey."""
        changed = self.changed
        before = self.look.scales.median[_COLOURS][:, changed].mean(axis=1)
        now = self.cells[_COLOURS][:, changed].mean(axis=1)
        kept = float(np.clip(now @ before / max(float(before @ before), 1e-9), 0, 1))
        return float(np.linalg.norm(now - kept * before)) > _TINT

    @property
    def tinted(self) -> bool:
        """True if the cells that changed most took on a colour."""
        change = self.cells[:AGREEMENT] - self.look.scales.median
        changed = self.away >= np.quantile(self.away, 1 - _MOST_CHANGED)
        return bool(max(abs(float(change[c][changed].mean())) for c in _COLOURS) > _TINT)

    @property
    def turned_round(self) -> bool:
        """True if the picture is much more like clean ones mirrored, upside down or both.

        That needs no edges: light, colour and texture of the cells tell it, and how much each varies.
        """
        turned = self.cells[:, :, ::-1], self.cells[:, ::-1], self.cells[:, ::-1, ::-1]
        left = min(np.abs(self.look.scales.deviations(cells)).mean() for cells in turned)
        return bool(left < _CLEANER * np.abs(self.deviations).mean())

    @cached_property
    def blurred(self) -> bool:
        """True if a blur explains the change, even if few cells have the structure to show it."""
        name, cosine = self.closest
        lit = float((self.change[_LIGHT] ** 2).sum() / max(float((self.change**2).sum()), 1e-9))
        level = self.level
        slight = bool((level[_FINE] < _FALLEN).all() and (np.abs(level[_COARSE]) < _KEPT).all())
        return name == "blurred" and (
            (slight and cosine > _SLIGHTLY) or (cosine > _BLURRED and lit < _UNLIT)
        )

    @property
    def level(self) -> Floats:
        """(7,) median deviation of each channel: a change of a part of the picture hardly moves it."""
        return np.asarray(np.median(self.deviations.reshape(len(self.deviations), -1), axis=1))

    @property
    def veiled(self) -> bool:
        """True if the scene cannot be recognised although there is light: a veil, which may be dark."""
        return self.hidden > _MUCH and float(self.thumb.mean()) > _LIT

    @property
    def grainy(self) -> bool:
        """True if there is much noise where there was little: a fog has hardly any."""
        now, usual = (
            float(np.exp(np.median(cells[_NOISE])) - 0.5)
            for cells in (self.cells, self.look.scales.median)
        )
        return now > max(_GRAINS, _GRAINIER * usual)


def covered(picture: LastPicture) -> str | None:
    """Return what covers the picture: "covered" or "partly covered", or None.

    No fault of the whole picture resembles its change, and either a part of it is as it was, or structure and
    colour changed, which a veil or less light does not do.
    """
    name, cosine = picture.closest
    much = picture.hidden > _MUCH
    tinged = (name == "colour cast" and cosine > _SURELY) or (
        name == "brighter" and cosine > _PARTLY
    )
    if much and not tinged and picture.overgrown:
        return "covered"
    grown = float(picture.own_colour.mean())
    if cosine < _WHOLLY and grown > _MUCH:
        return "covered" if grown > _MOSTLY else "partly covered"
    if cosine < _PARTLY and picture.absent > (_ABSENT_BLUR if picture.blurred else _ABSENT):
        return "covered" if much else "partly covered"
    if cosine > _WHOLLY or name == "noisier" or picture.blurred:
        return None
    if picture.intact < _SOME and name not in ("blurred", "colour cast"):
        return None
    if much:
        return "covered"
    local = cosine < _STRANGE and picture.intact > _MOST_INTACT
    seen = cosine < _UNLIKE and picture.hidden > _LITTLE
    return "partly covered" if seen or local else None


def unit(change: Floats) -> Floats:
    """Return a change (7, 8, 10) as a vector of length 1."""
    return np.asarray(change.ravel() / max(float(np.linalg.norm(change)), 1e-9))


def named(look: Look, change: Floats) -> list[tuple[str, float]]:
    """Return names and cosines of the signatures that a change of unit length resembles.

    Each is found in what remains without those before it; those after the first must explain a large part
    of the change.
    """
    names, directions = look.signatures
    left, found = change, dict[str, float]()
    while len(found) < _MOST:
        cosines = np.where(np.isin(names, list(found)), -1, directions @ left)
        best = int(cosines.argmax())
        cosine = float(cosines[best])
        if found and cosine < max(_ALIKE, max(found.values()) / 2):
            break
        found[names[best]] = cosine
        left = left - cosine * directions[best]
    return list(found.items())
