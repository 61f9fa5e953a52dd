"""Two builds beside each other at one rate of false alarms: `python -m benchmarks.matched --help`.

Each FOLDER holds clean pictures of one fixed camera. `--before` names the interpreter of another build's
environment. Both builds judge the same pictures by the protocol of `evaluate`, with one encoder, each with
its own calibration and verdict. The threshold of each is then scaled to the same rate, pooled over the clips.
What was judged is kept in the folder `--results`, a file for each clip, so that a run that was cut goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from benchmarks.matched_report import ENOUGH, Pair, Scored, show
from lenswatch.config import Config, EncoderConfig
from lenswatch.detect.arrays import Floats, Pixels
from lenswatch.evaluate.corruptions import corruption
from lenswatch.evaluate.encoding import Encoder
from lenswatch.evaluate.protocol import Case, Plan, all_cases, half_of, halves
from lenswatch.evaluate.running import keep_pictures
from lenswatch.progress import no_progress
from lenswatch.reference.training import find_pictures

AT_ONCE = 16  # pictures
HORIZONS = (100, 60, 40)  # pictures: a short clip has a shorter one
LEAST_ROOM = 12  # pictures between the first and the last start
JUDGE = Path(__file__).with_name("matched_judge.py")


class Judge:
    """A build as a detector, in a process of its own."""

    def __init__(self, python: str, files: Sequence[Path], plan: Plan) -> None:
        arguments = [str(JUDGE), *map(str, files), str(plan.ert), str(plan.seed)]
        self._process = subprocess.Popen(
            [python, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def say(self, letter: str, count: int = 0) -> None:
        """Send a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(letter.encode() + bytes([count]))
        self._process.stdin.flush()

    def hear(self, count: int) -> Floats:
        """Return the scores of the pictures that were sent last.

        Raises:
            RuntimeError: The process has ended.
        """
        assert self._process.stdout is not None
        answer = self._process.stdout.read(8 * count)
        if len(answer) < 8 * count:
            raise RuntimeError("a judge has ended")
        return np.frombuffer(answer, np.float64)


@dataclass
class Bench:
    """Two judges that see the same pictures, in a file that all of them map."""

    judges: tuple[Judge, Judge]
    pictures: Pixels

    def say(self, letter: str) -> None:
        """Send a command to both."""
        for judge in self.judges:
            judge.say(letter)

    def scores(self, images: Sequence[Pixels]) -> Floats:
        """Return the scores (n, 2) of pictures that follow, at most `AT_ONCE`; both work at once."""
        self.pictures[: len(images)] = images
        for judge in self.judges:
            judge.say("p", len(images))
        return np.stack([judge.hear(len(images)) for judge in self.judges], axis=1)

    def clean(self, second: Sequence[Pixels]) -> Pair:
        """Judge the clean pictures."""
        self.say("r")
        starts = range(0, len(second), AT_ONCE)
        return Pair.of(np.concatenate([self.scores(second[i : i + AT_ONCE]) for i in starts]))

    def trial(self, second: Sequence[Pixels], case: Case, plan: Plan) -> Pair:
        """Judge a corruption until the scores of both are above every threshold in question."""
        corrupt = corruption(case.corruption, plan.seed + case.onset)
        kind, _, level = case.mode.rpartition(" ")

        def shown(i: int) -> Pixels:
            grown = 1.0 if kind == "sudden" else (i + 1) / plan.horizon
            return corrupt(second[case.onset + i], float(level) * grown)

        rows, done, count = np.empty((0, 2)), 0, 2  # most are noticed soon
        while done < plan.horizon:
            end = min(done + count, plan.horizon)
            rows = np.concatenate([rows, self.scores([shown(i) for i in range(done, end)])])
            if np.nan_to_num(rows).max(axis=0).min() > ENOUGH:
                break
            done, count = end, min(2 * count, AT_ONCE)
        return Pair.of(rows)


def judged(
    folder: Path, results: Path, plan: Plan, pythons: tuple[str, str], epochs: int
) -> Scored:
    """Return all scores of a clip, judging what is not kept yet."""
    pictures = find_pictures(folder, ["*"], key="FOLDER")
    plan = plan_for(len(pictures), plan)
    cases = all_cases(half_of(len(pictures), plan), plan)
    kept = Kept(results / f"{folder.name}.jsonl", {**asdict(plan), "onsets": 0, "epochs": epochs})
    if wanted := [case for case in cases if case not in kept.trials]:
        print(f"{folder.name}: {len(wanted)} of {len(cases)} trials to go", file=sys.stderr)
        images = keep_pictures(
            results / f"{folder.name}.pixels", folder.name, pictures, Config(), no_progress
        ).images()
        first, second = halves(images, plan)
        files = [results / f"{folder.name}.{kind}" for kind in ("clean.npy", "npy", "encoder")]
        clean, batch, encoder = files
        np.save(clean, np.stack(first))
        np.save(batch, np.stack(first[:AT_ONCE]))
        mapped = np.load(batch, mmap_mode="r+")
        if not encoder.exists():
            Encoder.train(first, plan.seed, EncoderConfig(epochs=epochs)).save(encoder)
        before, now = (Judge(python, files, plan) for python in pythons)
        with before, now:
            _judge(Bench((before, now), mapped), second, plan, wanted, kept)
        for file in (clean, batch, results / f"{folder.name}.pixels"):
            file.unlink()
    return Scored(
        folder.name, kept.clean, {case: kept.trials[case] for case in cases}, plan.horizon
    )


def _judge(
    bench: Bench, second: Sequence[Pixels], plan: Plan, wanted: Sequence[Case], kept: Kept
) -> None:
    if kept.clean is None:
        kept.add(None, bench.clean(second))
    for onset in sorted({case.onset for case in wanted}):
        bench.say("r")
        for i in range(onset - plan.lead, onset, AT_ONCE):
            bench.scores(second[i : min(i + AT_ONCE, onset)])
        bench.say("k")
        for case in wanted:
            if case.onset == onset:
                bench.say("b")
                kept.add(case, bench.trial(second, case, plan))


def plan_for(pictures: int, plan: Plan) -> Plan:
    """Return the plan with the longest horizon that a clip has room for."""
    room = half_of(pictures, plan) - plan.lead - LEAST_ROOM
    fitting = [horizon for horizon in HORIZONS if horizon <= room]
    if not fitting:
        raise SystemExit(f"{pictures} pictures are too few")
    return dataclasses.replace(plan, horizon=fitting[0])


class Kept:
    """The scores of a clip in a file of lines.

    Attributes:
        clean: Of the clean pictures; None before they were judged.
        trials: Of each case.
    """

    def __init__(self, file: Path, settings: dict[str, Any]) -> None:
        self._file = file
        self.clean: Any = None
        self.trials: dict[Case, Pair] = {}
        head = json.dumps(settings)
        if not file.exists():
            file.write_text(head + "\n")
        first, *lines = file.read_text().splitlines()
        if first != head:
            raise SystemExit(f"{file} was made with other settings")
        for case, pair in self._read(lines):
            self._know(case, pair)

    @staticmethod
    def _read(lines: Sequence[str]) -> Iterator[tuple[Case | None, Pair]]:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:  # the run was cut while it wrote
                continue
            yield Case(*row["case"]) if row["case"] else None, Pair(*map(tuple, row["scores"]))

    def _know(self, case: Case | None, pair: Pair) -> None:
        if case is None:
            self.clean = pair
        else:
            self.trials[case] = pair

    def add(self, case: Case | None, pair: Pair) -> None:
        """Keep scores."""
        row = {"case": case and [case.corruption, case.mode, case.onset], "scores": list(pair)}
        with self._file.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self._know(case, pair)


def main() -> None:
    """Judge what is not kept, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--before", default=sys.executable, help="interpreter of the other build")
    parser.add_argument("--results", type=Path, default=Path("matched"), help="kept scores")
    parser.add_argument("--starts", type=int, default=7, help="for each corruption")
    parser.add_argument("--epochs", type=int, default=4, help="of the encoder of both")
    options = parser.parse_args()
    options.results.mkdir(exist_ok=True)
    plan = Plan(onsets=options.starts)
    pythons = options.before, sys.executable

    show([judged(each, options.results, plan, pythons, options.epochs) for each in options.folders])


if __name__ == "__main__":
    main()
