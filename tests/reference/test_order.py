"""The order in which the pictures of a folder were taken."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from conftest import jpeg
from lenswatch.errors import ConfigError
from lenswatch.reference.order import Ordered, find_in_order, in_order, natural_key

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
GREY = np.full((16, 16, 3), 128, np.uint8)


def put(folder: Path, name: str, exif: str = "", written: datetime = NOW) -> Path:
    """Write a picture with an EXIF time, and with the time at which it was written."""
    metadata = Image.Exif()
    if exif:
        metadata.get_ifd(ExifTags.IFD.Exif)[0x9003] = exif
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(GREY, exif=metadata))
    os.utime(path, (written.timestamp(),) * 2)
    return path


def ordered(folder: Path, zone: str = "UTC") -> Ordered:
    return in_order(set(folder.rglob("*.jpg")), ZoneInfo(zone), NOW)


def names(found: Ordered) -> list[str]:
    return [path.stem for path in found.pictures]


def test_exif_time_comes_first_and_names_that_disagree_are_told(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "2026:06:01 10:00:00")
    put(tmp_path, "b.jpg", "2026:06:01 08:00:00")
    found = ordered(tmp_path)
    assert (names(found), found.by) == (["b", "a"], "EXIF time")
    assert found.times == tuple(datetime(2026, 6, 1, hour, tzinfo=UTC) for hour in (8, 10))
    assert found.told() == (
        "2 pictures, ordered by EXIF time: 2026-06-01 08:00 to 2026-06-01 10:00 UTC"
    )
    assert found.notes == (
        "the names are in another order than the EXIF time in 1 place: a.jpg (2026-06-01 10:00) comes "
        "before b.jpg (2026-06-01 08:00) by name; the EXIF time decides",
    )


def test_a_name_with_another_date_than_the_exif_time_is_told(tmp_path: Path) -> None:
    put(tmp_path, "20260601-080000.jpg", "2026:06:01 10:00:00")  # another zone, perhaps
    put(tmp_path, "20260605-080000.jpg", "2026:06:03 08:00:00")
    (note,) = ordered(tmp_path).notes
    assert note.startswith("1 of 2 names has another date than the EXIF time")
    assert "20260605-080000.jpg (2026-06-05 08:00 by name, 2026-06-03 08:00 by EXIF time)" in note


def test_without_exif_the_date_in_the_name_counts(tmp_path: Path) -> None:
    put(tmp_path, "z_20260601-080000.jpg")
    put(tmp_path, "a_20260601-090000.jpg")
    found = ordered(tmp_path, "Europe/Berlin")
    assert (names(found)[0], found.by) == ("z_20260601-080000", "time in the name")
    assert found.times[0] == datetime(2026, 6, 1, 6, tzinfo=UTC)


def test_a_day_in_the_name_is_enough(tmp_path: Path) -> None:
    for name in ("cam-2026-06-02", "cam-2026-06-01", "cam-2026-05-30"):
        put(tmp_path, f"{name}.jpg")
    found = ordered(tmp_path)
    assert (names(found)[0], found.by) == ("cam-2026-05-30", "date in the name")


def test_file_times_count_when_they_are_far_apart(tmp_path: Path) -> None:
    for name, minutes in (("b", 0), ("a", 10)):
        put(tmp_path, f"{name}.jpg", written=NOW - timedelta(days=1) + timedelta(minutes=minutes))
    found = ordered(tmp_path)
    assert (names(found), found.by) == (["b", "a"], "file time")
    assert "by name; the file time decides" in found.notes[0]


def test_files_that_were_copied_at_once_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    for step, number in enumerate((10, 9, 100, 1)):
        put(tmp_path, f"frame_{number}.jpg", written=NOW + timedelta(seconds=step))
    found = ordered(tmp_path)
    assert names(found) == ["frame_1", "frame_9", "frame_10", "frame_100"]
    assert (found.by, found.times, found.notes) == (None, (None,) * 4, ())
    assert found.told() == "4 pictures, ordered by name: nothing tells when they were taken"


def test_a_kind_of_time_that_many_pictures_lack_is_not_used(tmp_path: Path) -> None:
    put(tmp_path, "2.jpg", "2026:06:01 08:00:00")
    put(tmp_path, "10.jpg", "2026:06:01 07:00:00")
    put(tmp_path, "3.jpg")
    found = ordered(tmp_path)
    assert names(found) == ["2", "3", "10"]
    assert found.notes == (
        "1 of 3 pictures has no EXIF time that can be right, such as 3.jpg; so it is not used",
    )
    assert found.told() == (
        "3 pictures, ordered by name: fewer than 9 in 10 tell when they were taken"
    )


@pytest.mark.parametrize("exif", ["2000:01:01 00:00:00", "2027:01:01 00:00:00"])
def test_a_clock_that_cannot_be_right_orders_nothing(tmp_path: Path, exif: str) -> None:
    put(tmp_path, "1.jpg", "2026:06:01 08:00:00")
    put(tmp_path, "2.jpg", exif)
    found = ordered(tmp_path)
    assert (names(found), found.by) == (["1", "2"], None)
    assert "2.jpg; so it is not used" in found.notes[0]


@pytest.mark.parametrize(
    ("exif", "told"),
    [
        ("", "04.jpg"),
        ("1970:01:01 00:00:00", "04.jpg (1970-01-01 00:00)"),
        ("2015:01:01 00:00:00", "04.jpg (2015-01-01 00:00)"),
        ("2027:01:01 00:00:00", "04.jpg (2027-01-01 00:00)"),
    ],
)
def test_one_wrong_clock_leaves_the_other_times_as_they_are(
    tmp_path: Path, exif: str, told: str
) -> None:
    for i in range(13):
        put(tmp_path, f"{i:02}.jpg", exif if i == 4 else f"2026:06:01 {20 - i}:00:00")
    found = ordered(tmp_path)
    assert names(found) == [f"{i:02}" for i in (12, 11, 10, 9, 8, 7, 6, 5, 3, 4, 2, 1, 0)]
    assert (found.times[9], found.places[9]) == (None, datetime(2026, 6, 1, 17, tzinfo=UTC))
    assert found.by == "EXIF time"
    assert found.told().endswith("2026-06-01 08:00 to 2026-06-01 20:00 UTC")
    assert found.notes[0] == (
        f"1 of 13 pictures has no EXIF time that can be right: {told}; it stays behind its neighbour "
        "by name"
    )
    assert [path.stem for path in found.wrong] == ["04"] * bool(exif)


def test_a_note_names_some_of_many_wrong_clocks(tmp_path: Path) -> None:
    for i in range(70):
        put(tmp_path, f"{i:02}.jpg", "" if i % 10 == 9 else f"2026:06:01 08:{i // 2:02}:00")
    assert ordered(tmp_path).notes == (
        "7 of 70 pictures have no EXIF time that can be right: 09.jpg, 19.jpg, 29.jpg, 39.jpg, 49.jpg "
        "and 2 more; they stay behind their neighbours by name",
    )


def test_one_old_file_makes_no_copied_folder_ordered(tmp_path: Path) -> None:
    for i in range(12):
        put(tmp_path, f"{i}.jpg", written=NOW - timedelta(days=4000) * (i == 3))
    assert ordered(tmp_path).by is None


def test_a_wrong_file_time_is_no_clock_of_a_camera(tmp_path: Path) -> None:
    for i in range(12):
        put(tmp_path, f"{i:02}.jpg", written=NOW - timedelta(days=4000 if i == 3 else 12 - i))
    found = ordered(tmp_path)
    assert (found.by, found.times[3], found.wrong) == ("file time", None, {})
    assert names(found)[3] == "03"


def test_a_wrong_clock_in_the_repeated_hour_moves_no_other_picture(tmp_path: Path) -> None:
    for i in range(12):
        put(tmp_path, f"{i:02}.jpg", f"2026:10:25 02:{i % 6}0:00")
    put(tmp_path, "06b.jpg", "2015:01:01 00:00:00")
    known = [time for time in ordered(tmp_path, "Europe/Berlin").times if time]
    assert [time.hour for time in known] == [0] * 6 + [1] * 6


def test_footage_of_several_years_has_no_wrong_clock(tmp_path: Path) -> None:
    for i in range(40):
        taken = datetime(2021, 1, 1, tzinfo=UTC) + timedelta(days=45 * i)
        put(tmp_path, f"{i:02}.jpg", f"{taken:%Y:%m:%d %H:%M:%S}")
    found = ordered(tmp_path)
    assert (None in found.times, found.notes) == (False, ())


def test_two_seasons_are_no_wrong_clock(tmp_path: Path) -> None:
    for i in range(12):
        put(tmp_path, f"{i:02}.jpg", f"{2021 if i < 2 else 2026}:06:01 08:{i:02}:00")
    found = ordered(tmp_path)
    assert (None in found.times, found.notes) == (False, ())


def moment(year: int, days: int = 700) -> st.SearchStrategy[datetime]:
    first = datetime(year, 1, 1, tzinfo=UTC)
    return st.integers(0, days * 86400).map(lambda s: first + timedelta(seconds=s))


@st.composite
def folders(draw: st.DrawFn) -> tuple[list[str], dict[str, datetime]]:
    """Draw names, and the times of the good ones; up to 1 in 10 have a bad time or none."""
    year, other = draw(st.permutations([2012, 2022]))
    total = draw(st.integers(1, 50))
    bad = draw(st.sets(st.integers(0, total - 1), max_size=total // 10))
    good = moment(year, 364)
    wrong = st.none() | moment(other) | moment(1980) | moment(2050)
    found, known = [], {}
    for i in range(total):
        time = draw(wrong if i in bad else good)
        name = f"cam{i:03}_" + (f"{time:%Y%m%d-%H%M%S}" if time else "none")
        found.append(name)
        if time is not None and i not in bad:
            known[name] = time
    return found, known


@given(folders())
def test_good_times_keep_their_order_beside_bad_ones(
    folder: tuple[list[str], dict[str, datetime]],
) -> None:
    every, known = folder
    found = in_order({Path(f"{name}.jpg") for name in every}, ZoneInfo("UTC"), NOW)
    assert found.by == "time in the name"
    assert sorted(names(found)) == every
    times = dict(zip(names(found), found.times, strict=True))
    assert {name: time for name, time in times.items() if time} == known
    assert [name for name in names(found) if name in known] == sorted(
        known, key=lambda name: (known[name], name)
    )
    assert list(found.places) == sorted(found.places)


def test_a_picture_that_cannot_be_read_stays_behind_its_neighbour(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg", "2026:06:01 09:00:00")
    (tmp_path / "2.jpg").write_bytes(b"")
    put(tmp_path, "3.jpg", "2026:06:01 08:00:00")
    found = ordered(tmp_path)
    assert (names(found), found.by) == (["3", "1", "2"], "EXIF time")
    assert found.times[2] is None


def test_a_folder_of_unreadable_files_is_in_the_order_of_the_names(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg"):
        (tmp_path / name).write_bytes(b"rubbish")
    assert names(ordered(tmp_path)) == ["a", "b"]


def test_in_the_repeated_hour_counters_tell_which_time_it_was(tmp_path: Path) -> None:
    shown = ["02:00", "02:40", "02:00", "02:40"]
    for number, clock in enumerate(shown, 9):
        put(tmp_path, f"DSC_{number}.jpg", f"2026:10:25 {clock}:00")
    found = ordered(tmp_path, "Europe/Berlin")
    assert names(found) == [f"DSC_{number}" for number in range(9, 13)]
    assert [time.hour for time in found.times if time] == [0, 0, 1, 1]
    assert found.notes == ()


def test_folders_are_in_natural_order_too(tmp_path: Path) -> None:
    for folder in ("day10", "day9"):
        for name in ("2.jpg", "1.jpg"):
            put(tmp_path, f"{folder}/{name}")
    found = ordered(tmp_path)
    assert [f"{path.parent.name}/{path.stem}" for path in found.pictures] == [
        *("day9/1", "day9/2", "day10/1", "day10/2"),
    ]


def test_a_pattern_is_below_its_folder_and_names_a_picture(tmp_path: Path) -> None:
    put(tmp_path, "b.jpg")
    put(tmp_path, "a.jpg")
    (tmp_path / "notes.txt").touch()
    assert names(find_in_order(tmp_path, ["*", "a.jpg"])) == ["a", "b"]
    for pattern in ("nothing/*", "/etc/*", "*.txt"):
        with pytest.raises(ConfigError, match="FOLDER"):
            find_in_order(tmp_path, [pattern], key="FOLDER")


@given(st.lists(st.integers(0, 10**30), unique=True))
def test_unpadded_numbers_are_in_the_order_of_their_values(numbers: list[int]) -> None:
    files = [f"cam1_{number}.jpg" for number in numbers]
    expected = [f"cam1_{number}.jpg" for number in sorted(numbers)]
    assert sorted(files, key=natural_key) == expected


@given(st.lists(st.text(max_size=20)))
def test_any_names_can_be_ordered(texts: list[str]) -> None:
    assert sorted(sorted(texts, key=natural_key)) == sorted(texts)
