"""The report of `lenswatch check` as a page, with the pictures that it names."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import ImageOps

from lenswatch.checking.report import Report
from lenswatch.evaluate.page import render
from lenswatch.reference.pictures import open_image

__all__ = ["check_page"]

SHOWN = 12  # pictures of each finding
SIDE = 240  # pixels


def check_page(report: Report) -> str:
    """Return a page that opens offline."""
    findings = [
        (finding, [(name, _thumbnail(report.folder / name)) for name in finding.files[:SHOWN]])
        for finding in report.findings
    ]
    rows = [
        [name, ", ".join(f"{value} ({number})" for value, number in counts.items())]
        for name, counts in report.counts.items()
    ]
    return render(
        "check.html",
        title=f"Clean pictures in {report.folder}",
        report=report,
        findings=findings,
        rows=rows,
    )


def _thumbnail(path: Path) -> str:
    """Return a small picture as a data address; empty if the file cannot be read."""
    try:
        with open_image(path) as image:
            image.draft("RGB", (SIDE, SIDE))
            small = ImageOps.exif_transpose(image).convert("RGB")
            small.thumbnail((SIDE, SIDE))
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=75)
    except Exception:  # decoders raise nearly anything on damaged input
        return ""
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
