"""Costs of a picture against sizes, with the floor beside them: `make bench-costs`.

Prints the tables of docs/performance.md, and draws them as docs/images/costs.png. Times are CPU milliseconds
of one thread, medians, so that other work on the machine changes them little.
"""

from __future__ import annotations

import functools
import io
import json
import logging
import math
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from lenswatch.config import Config, EncoderConfig, StorageConfig, TrackingConfig, UploadConfig
from lenswatch.demo import Footage, draw_parallel
from lenswatch.detect.arrays import Floats
from lenswatch.detect.mmd import FittedMMD, Window
from lenswatch.detect.nearest import Nearest
from lenswatch.memory import keep_freed_memory
from lenswatch.node.clean_footage import embed_picture
from lenswatch.node.observe import Node
from lenswatch.node.request import Request
from lenswatch.reference.clean import find_clean
from lenswatch.reference.pictures import read_picture
from lenswatch.reference.training import build_reference

REFERENCES = (100, 1_000, 10_000, 100_000)
SAMPLES = (64, 256)  # of a reduced reference
WINDOWS = (2, 12, 50, 200)
SIZES = ((384, 216), (960, 540), (1920, 1080), (3840, 2160))
STREAMS = (1, 100, 1_000, 10_000)
DIMENSIONS = 32
CLEAN, LIVE = 60, 40
EXACT = 10_000  # samples up to which the mean kernel of the whole reference is computed here
IMAGES = Path(__file__).parents[1] / "docs" / "images"


@dataclass(frozen=True)
class Table:
    """Costs against one size.

    Attributes:
        title: The size.
        head: Names of the columns; the first is the size, and times are in ms.
        rows: Values.
    """

    title: str
    head: tuple[str, ...]
    rows: list[tuple[float, ...]]

    def text(self) -> str:
        """Return the table in Markdown."""
        lines = [f"| {' | '.join(self.head)} |", f"|{' --- |' * len(self.head)}"]
        lines += [f"| {' | '.join(map(_shown, row))} |" for row in self.rows]
        return "\n".join([f"\n{self.title}\n", *lines])


def _shown(value: float) -> str:
    if math.isnan(value):
        return "not computed"
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:.2g}" if value < 10 else f"{value:.0f}"
    )


def cpu_ms(work: Callable[[], object], seconds: float = 0.6) -> float:
    """Return the median CPU milliseconds of a call, of at least 5."""
    work()
    taken: list[float] = []
    end = time.monotonic() + seconds
    while len(taken) < 5 or time.monotonic() < end:
        begun = time.thread_time_ns()
        work()
        taken.append((time.thread_time_ns() - begun) / 1e6)
    return median(taken)


def scenes(count: int, seed: int) -> Floats:
    """Return embeddings (count, 32) of a camera that sees eight scenes."""
    rng = np.random.default_rng(0)
    middles = rng.normal(0, 1, (8, DIMENSIONS))
    rng = np.random.default_rng(seed)
    return middles[rng.integers(0, 8, count)] + rng.normal(0, 0.3, (count, DIMENSIONS))


def fitted_to(reference: Floats, window: int = 12) -> FittedMMD:
    """Return a detector; the mean kernel of a very large reference is that of a part."""
    fitted = FittedMMD.fit(reference[:EXACT], window)
    return replace(fitted, reference=reference)


def against_reference() -> Table:
    """Measure the comparison of an embedding with the reference, whole and reduced."""
    rows = []
    live = scenes(200, 2)
    for count in REFERENCES:
        whole = fitted_to(scenes(count, 1))
        nearest = Nearest(whole.reference.astype(np.float32))
        to_nearest = cpu_ms(functools.partial(nearest.row, live[0].astype(np.float32)))
        row: list[float] = [count, to_nearest, cpu_ms(lambda: whole.entry(live[0]))]  # noqa: B023
        for samples in SAMPLES:
            few = whole.reduced(samples)
            row.append(cpu_ms(lambda: few.entry(live[0])))  # noqa: B023
            off = [abs(few.entry(x).to_reference - whole.entry(x).to_reference) for x in live]
            row.append(2 * max(off))
            assert few.reduction is not None
            row.append(2 * few.reduction.bound if count <= EXACT else float("nan"))
        rows.append(tuple(row))
    named = [(f"{n} samples", "distance off by", "at most by bound") for n in SAMPLES]
    names = (name for each in named for name in each)
    head = ("clean embeddings", "nearest of them", "all of them", *names)
    return Table("Reference", head, rows)


def against_window() -> Table:
    """Measure the distance of a full window, and its size in `node.db`."""
    rows: list[tuple[float, ...]] = []
    reference = scenes(1000, 1)
    for size in WINDOWS:
        fitted = fitted_to(reference, size)
        window = fitted.warm(scenes(size, 2))
        cost = cpu_ms(functools.partial(fitted.distance, window))
        stored = cpu_ms(lambda: Window.from_bytes(window.to_bytes()))  # noqa: B023
        rows.append((size, cost, stored, len(window.to_bytes())))
    return Table("Window", ("pictures", "distance", "write and read", "bytes"), rows)


def against_picture(node: Node, drawn: Path) -> Table:
    """Measure reading, encoding and the whole, with decoding in full grey as the floor of reading."""
    rows: list[tuple[float, ...]] = []
    reference, limits = node.reference, UploadConfig()
    for size in SIZES:
        data = jpeg_of(drawn, size)
        read = functools.partial(read_picture, data, reference.transform.resize, limits)
        pixels = read().pixels(reference.transform.resize)
        encode = cpu_ms(functools.partial(embed_picture, reference, pixels))
        whole = cpu_ms(lambda: node.observe(data, Request()))  # noqa: B023
        floor = cpu_ms(functools.partial(entropy_decoded, data))
        row = (size[0] * size[1], len(data), floor, cpu_ms(read), encode, whole)
        rows.append(row)
    head = ("pixels", "bytes", "floor: entropy decoding", "reading", "encoder", "the whole picture")
    return Table("Picture", head, rows)


def entropy_decoded(data: bytes) -> None:
    """Decode a JPEG to an eighth in grey, which takes little but its entropy coding."""
    image = Image.open(io.BytesIO(data))
    image.draft("L", (1, 1))
    image.load()


def jpeg_of(drawn: Path, size: tuple[int, int]) -> bytes:
    """Return a picture as a JPEG of another size."""
    buffer = io.BytesIO()
    with Image.open(drawn) as image:
        image.resize(size, Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def against_streams(node: Node, drawn: list[Path]) -> Table:
    """Measure pictures of many streams in turn, with one commit of nothing else as the floor."""
    rows: list[tuple[float, ...]] = []
    pictures = [jpeg_of(path, SIZES[0]) for path in drawn]
    for i in range(12):
        node.observe(pictures[i % len(pictures)], Request(stream="s0"))
    for count in STREAMS:
        copy_stream(node, count)
        order = np.random.default_rng(0).integers(0, count, 400)
        turn = iter(range(10**6))

        def judge() -> None:
            i = next(turn)  # noqa: B023
            stream = f"s{order[i % len(order)]}"  # noqa: B023
            node.observe(pictures[i % len(pictures)], Request(stream=stream))

        floor = cpu_ms(functools.partial(one_commit, node))
        rows.append((count, cpu_ms(judge, 2.0), floor))
    return Table("Streams", ("streams in turn", "the whole picture", "floor: one commit"), rows)


def copy_stream(node: Node, count: int) -> None:
    """Let `count` streams have the state of stream s0."""
    with node.store.begin() as transaction:
        driver = transaction.connection
        driver.exec_driver_sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT OR IGNORE INTO windows (stream, digest, state, images, updated_at) "
            "SELECT 's' || i, digest, state, images, updated_at FROM windows, n WHERE stream = 's0'",
            (max(1, count - 1),),
        )


def one_commit(node: Node) -> None:
    """Write a page and wait for the disk."""
    with node.store.begin() as transaction:
        transaction.connection.exec_driver_sql(
            "UPDATE windows SET images = images WHERE stream = 's0'"
        )


def trained(folder: Path) -> tuple[Node, list[Path]]:
    """Return a node of its own, and pictures that it has not seen."""
    footage = Footage(CLEAN + LIVE, datetime(2026, 6, 1, 8, tzinfo=UTC), timedelta(minutes=2))
    drawn = sorted(draw_parallel(footage, folder / "drawn"))
    clean = folder / "storage" / "images" / "clean"
    clean.mkdir(parents=True)
    for path in drawn[:CLEAN]:
        path.rename(clean / path.name)
    config = Config(
        storage=StorageConfig(path=str(folder / "storage")),
        encoder=EncoderConfig(epochs=2),
        tracking=TrackingConfig(url="http://127.0.0.1:9"),
        root=folder,
    )
    build_reference(config, find_clean(config).pictures)
    return Node(config), drawn[CLEAN:]


def draw(tables: list[Table], path: Path) -> None:
    """Draw the times of all tables."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    for axes, table in zip(figure.subplots(2, 2).flat, tables, strict=True):
        sizes = [row[0] for row in table.rows]
        for column, name in enumerate(table.head[1:], 1):
            if "byte" in name or "off by" in name or "bound" in name:
                continue
            style = "--" if name.startswith("floor") else "-"
            axes.plot(sizes, [row[column] for row in table.rows], style, marker="o", label=name)
        axes.set(
            xscale="log", yscale="log", xlabel=table.head[0], ylabel="CPU ms", title=table.title
        )
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Measure, print, draw."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logging.disable(logging.WARNING)  # each stream has the same notes
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        tables = [against_reference(), against_window()]
        node, drawn = trained(Path(folder))
        node.warm()
        tables += [against_picture(node, drawn[0]), against_streams(node, drawn)]
        node.store.close()
    for table in tables:
        print(table.text(), flush=True)
    draw(tables, IMAGES / "costs.png")
    results = [{"title": t.title, "head": t.head, "rows": t.rows} for t in tables]
    Path(__file__).with_name("costs.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
