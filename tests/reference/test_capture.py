"""The time of capture, from metadata and file names."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from lenswatch.reference.capture import Reading, date_in_name, exif_reading, time_in_name

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LOCAL = datetime.fromisoformat  # a time without zone
TIMES = st.datetimes(LOCAL("1970-01-01"), LOCAL("2099-12-31"))
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
DETAIL, GPS = ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo


def exif(main: Any = (), detail: Any = (), gps: Any = ()) -> Image.Exif:
    """Return metadata as they come back from a file."""
    written = Image.Exif()
    written.update(dict(main))
    written.get_ifd(DETAIL).update(dict(detail))
    written.get_ifd(GPS).update(dict(gps))
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG", exif=written)
    return Image.open(buffer).getexif()


def shown(**parts: Any) -> datetime:
    reading = exif_reading(exif(**parts))
    assert reading is not None
    return reading.shown


def original(text: Any, offset: str = "", fraction: str = "") -> Image.Exif:
    return exif(detail={0x9003: text, 0x9011: offset, 0x9291: fraction})


@given(TIMES, st.none() | OFFSETS)
def test_what_a_camera_writes_is_read(moment: datetime, offset: timezone | None) -> None:
    text = f"{moment:%Y:%m:%d %H:%M:%S}"
    zone = "" if offset is None else f"{moment.replace(tzinfo=offset):%z}"
    found = exif_reading(original(text, f"{zone[:3]}:{zone[3:]}" if zone else "", f"{moment:%f}"))
    assert found == Reading(moment.replace(tzinfo=offset), "EXIF time")


@given(st.text(max_size=24), st.text(max_size=8), st.text(max_size=8))
def test_any_text_is_a_time_or_none(text: str, offset: str, fraction: str) -> None:
    reading = exif_reading(_Raw({0x9003: text, 0x9011: offset, 0x9291: fraction}))
    assert reading is None or isinstance(reading.moments(BERLIN), tuple)


class _Raw(Image.Exif):
    """Metadata with values that no writer would write."""

    def __init__(self, detail: dict[int, Any]) -> None:
        super().__init__()
        self._detail = detail

    def get_ifd(self, tag: int) -> dict[int, Any]:
        if tag == DETAIL:
            return self._detail
        raise ValueError("a damaged directory")


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "    :  :     :  :  ", "0000:00:00 00:00:00", "0000:00:00", "yesterday"),
        *("2026:13:01 00:00:00", "2026:02:30 00:00:00", "2026:06:01 24:00:00", "2026:06:01"),
        *("2026:06:01 08:30:00 and more", "٢٠٢٦:06:01 08:30:00", 20260601, (1, 2), b"\xff\xfe"),
    ],
)
def test_what_is_no_time_is_left_out(text: Any) -> None:
    assert exif_reading(_Raw({0x9003: text})) is None


@pytest.mark.parametrize(
    "text",
    [
        *(
            "2026:06:01 08:30:00\0",
            "2026-06-01 08:30:00",
            "2026/06/01 08:30:00",
            "2026:6:1 8:30:00",
        ),
        *("2026-06-01T08:30:00", "2026:06:01 08:30", b"2026:06:01 08:30:00"),
    ],
)
def test_other_spellings_are_read(text: Any) -> None:
    reading = exif_reading(_Raw({0x9003: text}))
    assert reading is not None
    assert reading.shown == LOCAL("2026-06-01T08:30")


def test_offset_and_fraction_may_stand_in_the_time_itself() -> None:
    reading = exif_reading(_Raw({0x9003: "2026:06:01 08:30:00.25+05:45"}))
    assert reading is not None
    assert reading.moments(None) == (datetime(2026, 6, 1, 2, 45, 0, 250_000, tzinfo=UTC),)


@pytest.mark.parametrize("offset", ["", "   :  ", "+99:00", "+05:75", "-15:00", "local"])
def test_an_offset_that_is_none_leaves_the_zone_open(offset: str) -> None:
    assert shown(detail={0x9003: "2026:06:01 08:30:00", 0x9011: offset}).tzinfo is None


def test_each_time_has_its_own_offset_and_fraction_and_the_first_that_is_one_counts() -> None:
    digitized = {0x9004: "2026:06:01 08:00:00", 0x9012: "+01:00", 0x9292: "5"}
    changed = {0x9010: "+02:00", 0x9290: "75"}
    main = {ExifTags.Base.DateTime: "2026:06:01 09:00:00"}
    empty = {0x9003: "0000:00:00 00:00:00", 0x9011: "+09:00", 0x9291: "9"}
    assert shown(main=main, detail=empty | digitized | changed).isoformat() == (
        "2026-06-01T08:00:00.500000+01:00"
    )
    assert shown(main=main, detail=empty | changed).isoformat() == (
        "2026-06-01T09:00:00.750000+02:00"
    )


def test_satellite_time_is_utc() -> None:
    gps = {ExifTags.GPS.GPSDateStamp: "2026:06:01", ExifTags.GPS.GPSTimeStamp: (6.0, 30.0, 15.5)}
    assert shown(gps=gps) == datetime(2026, 6, 1, 6, 30, 15, 500_000, tzinfo=UTC)
    assert shown(detail={0x9003: "2026:06:01 08:30:00"}, gps=gps).tzinfo is None


@pytest.mark.parametrize("clock", [(), (6.0,), (25.0, 0.0, 0.0), ("six", 0, 0), 7, (6, 0, 0, 0)])
def test_a_satellite_time_that_is_none_is_left_out(clock: Any) -> None:
    class Raw(Image.Exif):
        def get_ifd(self, tag: int) -> dict[int, Any]:
            return {29: "2026:06:01", 7: clock} if tag == GPS else {}

    assert exif_reading(Raw()) is None


def test_damaged_metadata_tell_no_time() -> None:
    assert exif_reading(_Raw({})) is None


@given(TIMES, st.sampled_from([BERLIN, ZoneInfo("America/St_Johns"), ZoneInfo("Asia/Kathmandu")]))
def test_a_moment_in_a_zone_is_among_those_that_its_clock_can_mean(
    moment: datetime, zone: ZoneInfo
) -> None:
    utc = moment.replace(tzinfo=UTC)
    local = utc.astimezone(zone).replace(tzinfo=None, fold=0)
    found = Reading(local, "EXIF time").moments(zone)
    assert utc in found
    assert list(found) == sorted(set(found))


def test_the_hour_that_autumn_repeats_has_two_moments() -> None:
    found = Reading(LOCAL("2026-10-25T02:30"), "EXIF time").moments(BERLIN)
    assert [moment.hour for moment in found] == [0, 1]


def test_the_hour_that_spring_skips_is_that_of_a_clock_that_was_not_set() -> None:
    found = Reading(LOCAL("2026-03-29T02:30"), "EXIF time").moments(BERLIN)
    assert found == (datetime(2026, 3, 29, 1, 30, tzinfo=UTC),)


@pytest.mark.parametrize(
    "moment", [datetime(1, 1, 1, tzinfo=BERLIN), LOCAL("0001-01-01"), LOCAL("9999-12-31T23:00")]
)
def test_beyond_the_calendar_there_is_no_moment(moment: datetime) -> None:
    zone = BERLIN if moment.year == 1 else ZoneInfo("America/New_York")
    assert Reading(moment, "EXIF time").moments(zone) == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("20230728-083036-IPC608_8B64_165.jpg", "2023-07-28T08:30:36"),
        ("2023-06-13T03_11_46.jpg", "2023-06-13T03:11:46"),
        ("IMG_20230728_083036123.jpg", "2023-07-28T08:30:36.123000"),
        ("PXL_20230728_083036123.MP.jpg", "2023-07-28T08:30:36.123000"),
        ("2023-07-28 08.30.36.jpg", "2023-07-28T08:30:36"),
        ("WhatsApp Image 2023-07-28 at 08.30.36.jpeg", "2023-07-28T08:30:36"),
        ("192.168.1.64_01_20230728083036123_TIMING.jpg", "2023-07-28T08:30:36.123000"),
        ("01-20230728083036-00.jpg", "2023-07-28T08:30:36"),
        ("reef/2023/20230728083036.png", "2023-07-28T08:30:36"),
        ("C:\\cam\\2023_07_28_08_30_36.jpg", "2023-07-28T08:30:36"),
        ("20260601T060000Z.jpg", "2026-06-01T06:00:00+00:00"),
        ("2026-06-01T06:00:00.250+05:45.jpg", "2026-06-01T06:00:00.250000+05:45"),
        ("20000101-000312.jpg", "2000-01-01T00:03:12"),
        ("1690533036.jpg", "2023-07-28T08:30:36+00:00"),
        ("cam_1690533036123.jpg", "2023-07-28T08:30:36.123000+00:00"),
        ("20231399-083036_20230728-083036.jpg", "2023-07-28T08:30:36"),
    ],
)
def test_the_date_in_a_files_name_is_read(name: str, text: str) -> None:
    reading = time_in_name(name, NOW)
    assert reading is not None
    assert reading.shown.isoformat() == text
    assert reading.source == "time in the name"


@pytest.mark.parametrize(
    "name",
    [
        *("frame_0012.jpg", "DSC_9999.jpg", "", ".jpg", "IMG_20230728.jpg", "2023-07-28.jpg"),
        *("20231399-083036.jpg", "20230728-256036.jpg", "20230230-083036.jpg"),
        *("120230728083036.jpg", "202307280830361.jpg", "SN20230728-0830367.jpg"),
        *("1234567890.jpg", "2999999999.jpg", "1690533036_12.jpg", "0049-1690533036.jpg"),
        *("18991231-235959.jpg", "21230728-083036.jpg", "1690533036123456.jpg"),
        *("2023-07_28 08.30.36.jpg", "2023-07-28 08.30-36.jpg", "٢٠٢٣0728-083036.jpg"),
    ],
)
def test_a_number_that_is_no_date_is_not_taken_for_one(name: str) -> None:
    assert time_in_name(name, NOW) is None


FORMS = [
    *("%Y%m%d-%H%M%S", "%Y%m%d_%H%M%S", "%Y%m%d%H%M%S", "%Y-%m-%dT%H_%M_%S", "%Y-%m-%d %H.%M.%S"),
    *("%Y-%m-%d_%H-%M-%S", "%Y.%m.%d_%H.%M.%S", "%Y_%m_%d_%H_%M_%S", "%Y%m%dT%H%M%S"),
]


@given(
    TIMES,
    st.sampled_from(FORMS),
    st.sampled_from(["", "cam1_", "IPC608_8B64_", "reef-", "Front 00 "]),
    st.sampled_from(["", "-IPC608_8B64_165", "_1", " (2)", "[M][0@0]", "-00042", "_TIMING"]),
)
def test_a_date_is_found_wherever_it_stands(
    moment: datetime, form: str, before: str, after: str
) -> None:
    reading = time_in_name(f"{before}{moment.strftime(form)}{after}.jpg", NOW)
    assert reading is not None
    assert reading.shown == moment.replace(microsecond=0)


@given(st.text(max_size=60))
def test_any_name_has_a_time_or_none(name: str) -> None:
    for reading in (time_in_name(name, NOW), date_in_name(name)):
        assert reading is None or isinstance(reading.moments(None), tuple)


def test_a_day_alone_needs_separators() -> None:
    reading = date_in_name("reef_2023-07-28_noon.jpg")
    assert reading == Reading(LOCAL("2023-07-28"), "date in the name")
    assert date_in_name("SN20230728.jpg") is None
    assert date_in_name("2023-13-28.jpg") is None
