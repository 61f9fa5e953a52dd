"""An explanation of a picture: the picture, the nearest clean one, and a map of the deviations."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lenswatch.config import Config
from lenswatch.detect.chart.causes import MAP, Cause
from lenswatch.detect.chart.features import measure, view
from lenswatch.errors import InputError
from lenswatch.node.clean_files import pictures_below
from lenswatch.node.clean_footage import embed_picture
from lenswatch.node.current import Current
from lenswatch.reference.artefact import Reference
from lenswatch.reference.identity import PictureFile, file_digest, find_contents, path_below
from lenswatch.reference.pictures import Picture, read_picture_file

__all__ = ["Explanation", "draw_explanation", "explain"]

_WIDTH = 480  # pixels of each of the three panels
_MARGIN, _LINE = 12, 20  # pixels
_TEXT = 14  # pixels; smaller text loses the spaces between words
_FULL = 8.0  # deviations at which a cell is shown at full strength
_HEAT = (214, 40, 40)
_INK, _PAPER = (20, 24, 28), (255, 255, 255)


@dataclass(frozen=True)
class Explanation:
    """A drawing of what is wrong with a picture.

    Attributes:
        sheet: The drawing.
        causes: The strongest first.
        nearest: A line that names the nearest clean picture, and says if it is not there any more; empty
            for an adopted pair.
        notes: Sentences on why there are no causes, when the stream is not calibrated.
    """

    sheet: Image.Image
    causes: tuple[Cause, ...]
    nearest: str = ""
    notes: tuple[str, ...] = ()


def explain(config: Config, file: Path, stream: str) -> Explanation:
    """Explain one picture by itself, as if the stream's last window had been full of it.

    Nothing is recorded or written, so that the storage folder may be read-only.

    Raises:
        ArtefactError: There is no reference yet, or it is damaged.
        InputError: The picture cannot be used, or the stream's name is invalid.
    """
    current = Current(config, keep_calibrations=False)
    reference, _ = current.fitted_reference()
    size = reference.transform.resize
    picture = _read(config, reference, file)
    pixels = picture.pixels(size)
    judge = current.judge_of(reference, stream)
    found, deviations = judge.single_picture(measure(view(pixels)))
    row = reference.nearest_row(embed_picture(reference, pixels))
    clean, caption = (None, "") if row is None else _nearest(config, reference, row)
    shown = np.zeros(MAP) if deviations is None else deviations
    sheet = draw_explanation(picture.image, clean, shown, found, caption)
    notes = () if judge.calibration.thresholds else judge.notes
    return Explanation(sheet, found, caption, notes)


def _read(config: Config, reference: Reference, file: Path) -> Picture:
    transform = reference.transform
    return read_picture_file(file, transform.resize, config.upload, transform.sample_bits)


def _nearest(config: Config, reference: Reference, row: int) -> tuple[Image.Image | None, str]:
    """Return a clean picture of the reference, None if it is not there any more, and a line on it."""
    images, listed = config.image_folder, reference.pictures[row]
    file = _by_content(config, listed) if listed.sha256 else _by_look(config, reference, row)
    if file is None:
        return None, f"nearest clean picture: {listed.path}, which is not below {images} any more"
    image = _read(config, reference, file).image
    return image, f"nearest clean picture: {path_below(images, file)}"


def _by_content(config: Config, picture: PictureFile) -> Path | None:
    """Find a picture by its digest: at its path, else anywhere below the folder."""
    at_its_path = config.image_folder / picture.path
    if file_digest(at_its_path) == picture.sha256:
        return at_its_path
    others = sorted(pictures_below(config), key=lambda file: (file.name != at_its_path.name, file))
    return find_contents([picture.sha256], others).get(picture.sha256)


def _by_look(config: Config, reference: Reference, row: int) -> Path | None:
    """Find a picture of a reference that lists names only: the one of that name with its embedding."""
    size = reference.transform.resize
    for file in sorted(pictures_below(config)):
        if file.name == reference.pictures[row].path:
            with contextlib.suppress(InputError):
                pixels = _read(config, reference, file).pixels(size)
                if row in reference.same_pictures("", embed_picture(reference, pixels)):
                    return file
    return None


def draw_explanation(
    image: Image.Image,
    clean: Image.Image | None,
    deviations: NDArray[np.float64],
    causes: Sequence[Cause],
    caption: str = "",
) -> Image.Image:
    """Draw the image, the nearest clean image, and the map of the deviations side by side.

    Args:
        image: RGB, of any size.
        clean: The clean image closest in embedding; None leaves it out.
        deviations: (4, 5), of the image's cells.
        causes: The strongest first.
        caption: A line of text above.
    """
    height = round(_WIDTH * image.height / image.width)
    panels = [("this picture", _fitted(image, height))]
    if clean is not None:
        panels.append(("nearest clean picture", _fitted(clean, height)))
    panels.append(("deviations from clean", _overlaid(_fitted(image, height), deviations)))
    lines = [caption] if caption else []
    lines += [f"{c.name}: {c.strength:.1f} times the threshold" for c in causes]
    top = _MARGIN + _LINE * len(lines)
    width = len(panels) * (_WIDTH + _MARGIN) + _MARGIN
    sheet = Image.new("RGB", (width, top + height + 2 * _LINE + _MARGIN), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_TEXT)
    for i, line in enumerate(lines):
        draw.text((_MARGIN, _MARGIN + i * _LINE), line, fill=_INK, font=font)
    for i, (title, panel) in enumerate(panels):
        left = _MARGIN + i * (_WIDTH + _MARGIN)
        draw.text((left, top + _MARGIN // 2), title, fill=_INK, font=font)
        sheet.paste(panel, (left, top + _LINE + _MARGIN // 2))
    return sheet


def _fitted(image: Image.Image, height: int) -> Image.Image:
    return image.convert("RGB").resize((_WIDTH, height), Image.Resampling.BILINEAR)


def _overlaid(panel: Image.Image, deviations: NDArray[np.float64]) -> Image.Image:
    """Colour the cells in red, the stronger the farther from clean, and write their deviations."""
    strength = np.clip(deviations / _FULL, 0, 1) * 0.7 * 255
    mask = Image.fromarray(strength.astype(np.uint8)).resize(panel.size, Image.Resampling.NEAREST)
    shown = Image.composite(Image.new("RGB", panel.size, _HEAT), panel, mask)
    draw, font = ImageDraw.Draw(shown), ImageFont.load_default(_TEXT)
    wide, high = panel.width / MAP[1], panel.height / MAP[0]
    for row in range(MAP[0]):
        for column in range(MAP[1]):
            text = f"{deviations[row, column]:.1f}"
            draw.text(
                (column * wide + 5, row * high + 4),
                text,
                fill=_PAPER,
                font=font,
                stroke_width=2,
                stroke_fill=_INK,
            )
    return shown
