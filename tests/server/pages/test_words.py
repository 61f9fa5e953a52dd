"""Words, times and lines of the pages, without a server."""

from __future__ import annotations

from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenswatch.server.pages import axes, job, models, points, ranges, sketches, words
from lenswatch.server.pages.figure import chart_of
from lenswatch.server.pages.lanes import lanes_of
from lenswatch.server.pages.look import Look, duration
from lenswatch.server.values import stamps

NOW = stamps.microseconds("2026-06-03T19:54:00Z") or 0
BERLIN = Look("system", "local", ZoneInfo("Europe/Berlin"), NOW)
UTC_LOOK = Look("system", "utc", UTC, NOW)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.31, "0.31"),
        (0, "0"),
        (-0.00042, "−0.00042"),
        (1234.5, "1234"),
        (5e-9, "5.0e−09"),
        (None, "–"),
    ],
)
def test_numbers_have_three_digits(value: Any, text: str) -> None:
    assert words.number(value) == text


@given(st.floats(allow_nan=True) | st.integers() | st.none() | st.booleans())
def test_every_number_has_words(value: Any) -> None:
    assert words.number(value)
    assert isinstance(words.times_over(value), str)


@pytest.mark.parametrize(
    ("ratio", "row", "word"),
    [(1.2, 1, "likely"), (2.5, 1, "sure"), (1.2, 5, "sure"), (4.5, 5, "very sure"), (9, 2, "sure")],
)
def test_how_sure_is_said_in_three_words(ratio: float, row: int, word: str) -> None:
    assert words.sure(ratio, row) == word


def test_a_chart_of_both_references_has_a_title_in_words() -> None:
    both = axes.axes_of({"y": "score, shadow.score, distance, shadow.distance"})
    assert both.title == "Lens score, lens score in shadow, distance, distance in shadow"
    assert axes.axes_of({"y": "Depth", "x": "score"}).title == "Depth against lens score"


def test_times_are_short_where_that_is_clear() -> None:
    assert BERLIN.short("2026-06-03T12:24:00Z") == "14:24"
    assert UTC_LOOK.short("2026-06-03T12:24:00Z") == "12:24"
    assert BERLIN.short("2026-05-28T12:24:00Z") == "28 May 14:24"
    assert BERLIN.short("2025-05-28T12:24:00Z") == "28 May 2025 14:24"
    assert "12:24:00 UTC" in BERLIN.time("2026-06-03T12:24:00Z")
    assert BERLIN.read("2026-06-03T14:24") == stamps.microseconds("2026-06-03T12:24:00Z")
    assert BERLIN.short("rubbish") == "–"


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("2026-06-03T08:00:00Z", "2026-06-03T10:30:00Z", ("10:00", "12:30")),
        ("2026-06-02T07:35:00Z", "2026-06-03T00:55:00Z", ("2 June 09:35", "3 June 02:55")),
        ("2026-06-01T07:00:00Z", "2026-06-01T08:00:00Z", ("1 June 09:00", "10:00")),
        (
            "2025-12-31T07:00:00Z",
            "2026-01-01T08:00:00Z",
            ("31 December 2025 08:00", "1 January 2026 09:00"),
        ),
    ],
)
def test_both_ends_of_a_span_have_their_date(start: str, end: str, words: Any) -> None:
    assert BERLIN.ends(start, end) == words


def test_times_are_called_utc_until_the_browser_has_told_its_zone() -> None:
    assert BERLIN.zone_shown == "local"
    assert Look("system", "local", UTC, NOW).zone_shown == "utc"


@given(st.integers(0, 10**10))
def test_every_duration_has_words_of_at_most_two_units(seconds: int) -> None:
    assert 2 <= len(duration(seconds).split()) <= 4
    assert len(duration(seconds, whole=True).split()) == 2


def series(rows: list[tuple[int, float, bool]], **others: Any) -> dict[str, Any]:
    times = [stamps.iso(NOW + minute * 60_000_000) for minute, _, _ in rows]
    n = len(rows)
    columns = {
        "id": [f"job-{i}" for i in range(n)],
        "created_at": times,
        "captured_at": times,
        "taken_at": times,
        "drift": [drift for _, _, drift in rows],
        "status": ["Completed"] * n,
        "verdict": ["drift" if drift else "clean" for _, _, drift in rows],
        "image": [True] * n,
        "distance": [value for _, value, _ in rows],
        "drift_distance": [0.5] * n,
        "warning_distance": [0.4] * n,
    }
    return columns | others


def test_a_line_shows_where_it_was_over_its_threshold() -> None:
    found = points.points_of(series([(i, 0.1 if i < 5 else 1.5, i >= 5) for i in range(10)]))
    drawing = str(points.sketch(found, "reef"))
    assert drawing.count('class="hot"') == 1
    assert "newest 1.5, 3.0 times the drift threshold" in drawing
    assert "style" not in drawing


def test_a_line_is_as_long_as_its_range() -> None:
    found = points.points_of(series([(i, 0.1, False) for i in range(10)]))
    drawing = str(points.sketch(found, "reef", span=(NOW, NOW + 90 * 60_000_000)))
    assert 'd="M0 ' in drawing
    assert "L100 100L0 100Z" in drawing  # the last point is after a tenth of the range


def test_a_long_silence_does_not_squeeze_the_line_before_it() -> None:
    found = points.points_of(series([(i, 0.1, False) for i in range(10)]))
    drawing = str(points.sketch(found, "reef", until=NOW + 10**14))
    assert "L714 100L0 100Z" in drawing
    assert 'class="gone" d="M714 98H1000"' in drawing


def test_no_value_is_no_line() -> None:
    assert "no value yet" in points.sketch([], "reef")


@given(st.text("cwdufz?", max_size=100))
def test_a_strip_has_each_verdict_once(recent: str) -> None:
    drawing = str(sketches.strip(list(recent)))
    lengths = [int(part.partition("v")[0]) for part in drawing.split("h")[1:] if part[:1].isdigit()]
    assert sum(n for n in lengths if n) >= len(recent)


def test_a_chart_has_thresholds_events_notes_and_a_trend() -> None:
    found = points.points_of(series([(i, i / 10, i > 5) for i in range(10)]))
    event = {
        "id": "e",
        "kind": "drift",
        "begun_at": stamps.iso(NOW + 360_000_000),
        "ended_at": None,
    }
    note = {"id": "n", "kind": "note", "begins_at": stamps.iso(NOW + 120_000_000), "ends_at": None}
    span = ranges.Range(None, None, "newest")
    lanes = lanes_of(found, [event], [note], span)
    chart = chart_of(found, ("other", 0, found), axes.axes_of({"trend": "1"}), lanes, BERLIN)
    [panel] = chart["panels"]
    assert panel["points"]["x"][0] == "2026-06-03 21:54:00.000"
    assert panel["drift"]["label"] == "drift 0.5"
    assert len(panel["drift"]["x"]) == 2
    assert panel["trend"]["y"] == pytest.approx([0, 0.9])
    assert len(panel["other"]["points"]["x"]) == 10
    assert [e["kind"] for e in chart["events"]] == ["drift"]
    assert [n["letter"] for n in chart["notes"]] == ["A"]
    assert 60 < lanes.events[0].left < 70
    roles = [slot.role for slot in lanes.film if slot.point]
    assert "first" in roles
    assert "newest" in roles or "worst" in roles


def test_two_references_are_two_series() -> None:
    versions = ["lenswatch@aaaaaaaaaaaa"] * 4 + ["lenswatch@bbbbbbbbbbbb"] * 6
    found = points.points_of(series([(i, i / 10, False) for i in range(10)], model=versions))
    assert [short for _, short in models.references_of(found)] == ["aaaaaaaa", "bbbbbbbb"]
    assert models.references_of(found[:4]) == []
    others, judged = models.of_model(found, versions[0])
    assert (len(others), len(judged)) == (6, 4)
    lanes = lanes_of(found, [], [], ranges.Range(None, None, "newest"))
    chart = chart_of(others, ("reference aaaaaaaa", 0, judged), axes.Axes(), lanes, BERLIN)
    [panel] = chart["panels"]
    assert panel["points"]["y"] == [0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert panel["other"]["points"]["y"] == [0, 0.1, 0.2, 0.3]


def test_events_that_cannot_be_told_apart_are_one() -> None:
    found = points.points_of(series([(i, 0.1, False) for i in range(1000)]))
    events = [
        {
            "id": str(i),
            "kind": "drift",
            "begun_at": stamps.iso(NOW + i * 60_000_000),
            "ended_at": stamps.iso(NOW + i * 60_000_000 + 1),
        }
        for i in (0, *range(500, 600), 900)
    ]
    lanes = lanes_of(found, events[::-1], [], ranges.Range(None, None, "newest"))
    assert [span.count for span in lanes.events] == [1, 100, 1]
    assert lanes.events[1].end == NOW + 599 * 60_000_000 + 1
    assert lanes.events[1].left == pytest.approx(100 * 500 / 999)
    assert lanes.events[1].width == pytest.approx(100 * 99 / 999 + 0.4)


def test_one_picture_alone_has_a_threshold_that_is_seen() -> None:
    found = points.points_of(series([(0, 0.1, False)]))
    lanes = lanes_of(found, [], [], ranges.Range(None, None, "newest"))
    chart = chart_of(found, None, axes.Axes(), lanes, BERLIN)
    first, last = chart["panels"][0]["drift"]["x"]
    assert first < chart["panels"][0]["points"]["x"][0] < last


def test_any_parameter_can_be_an_axis() -> None:
    asked = {"x": "parameters.window.filled", "y": "distance, light.mean", "xscale": "log"}
    chosen = axes.axes_of(asked)
    assert (chosen.x, chosen.y, chosen.log_x) == ("window.filled", ("distance", "light.mean"), True)
    assert chosen.parameters == ["light.mean", "window.filled"]
    values = {"parameters.window.filled": [1, 2, None], "parameters.light.mean": [5, 6, 7]}
    found = points.points_of(series([(i, 0.1, False) for i in range(3)], values=values))
    lanes = lanes_of(found, [], [], ranges.Range(None, None, "newest"))
    chart = chart_of(found, None, chosen, lanes, BERLIN)
    assert chart["panels"][1]["points"]["x"] == [1, 2]
    assert chart["panels"][1]["points"]["y"] == [5, 6]
    assert axes.axes_of({"x": "a b", "y": "'; DROP", "kind": "pie"}) == axes.Axes()


def test_a_range_is_moved_by_its_own_length() -> None:
    query = {"from": "2026-06-03T10:00:00Z", "to": "2026-06-03T12:00:00Z"}
    span = ranges.range_of(query, NOW, BERLIN)
    assert span.moved(-1) == {"from": "2026-06-03T08:00:00Z", "to": "2026-06-03T10:00:00Z"}
    assert ranges.range_of({"range": "6h"}, NOW, BERLIN).end == NOW + 1_000_000
    assert ranges.range_of({"range": "6h"}, None, BERLIN).preset == "newest"
    assert ranges.range_of({"from": "x"}, NOW, BERLIN).start is None


@pytest.mark.parametrize(
    ("cells", "place"),
    [
        ([[0, 4], [1, 4]], "upper right"),
        ([[3, 0]], "lower left"),
        ([[1, 2], [2, 2]], "in the middle"),
        ([[r, c] for r in range(4) for c in range(5)], "all over"),
        ([], ""),
        ("rubbish", ""),
    ],
)
def test_cells_are_a_place_in_words(cells: Any, place: str) -> None:
    assert job.place_of(cells) == place


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        *(
            "distance",
            "drift_distance",
            "score",
            "causes",
            "deviations",
            "window",
            "shed",
            "warning",
        ),
        *("captured_at", "camera_time", "nearest_clean", "calibration_notes", "error", "alarm"),
    ]
)


@given(st.dictionaries(NAMES, json_values, max_size=8), st.sampled_from(["Completed", "Failed"]))
def test_whatever_a_client_sent_is_a_job_with_sentences(parameters: Any, status: str) -> None:
    record = {"id": "1", "created_at": "2026-06-03T12:00:00Z", "job_status": status}
    found = job.job_of(record | {"drift_detected": False, "parameters": parameters})
    assert found.verdict
    assert all(isinstance(text, str) for text in found.sentences)
    assert isinstance(found.causes, list)
    sketches.deviation_cells(parameters.get("deviations"))
