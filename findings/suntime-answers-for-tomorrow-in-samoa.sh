#!/usr/bin/env bash
# suntime 1.4.0 answers with the sun of the next day where the zone is ahead of UTC and the longitude is west.
#
# Expected: for noon of 10 January in a place's own zone, sunrise and sunset of 10 January, as astral 3.2 answers.
# Seen: for Samoa, Tonga, the Chatham Islands and Kiritimati (zones of UTC+12:45 to UTC+14, longitudes west of
# Greenwich) both are those of 11 January. For Fiji and Adak, on both sides of them, they are those of 10 January.
# The sunrises differ from those of astral by less than three minutes; it is the date that is off by one.
# Why it matters: the usual question whether a camera's picture was taken by day, sunrise < taken < sunset, is answered
# "by night" for each picture of the day there, noon included.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    suntime==1.4.0 astral==3.2 tzdata==2025.2

"$folder/venv/bin/python" - <<'PYTHON'
import sys
from datetime import datetime, timedelta
from importlib.metadata import version
from zoneinfo import ZoneInfo

from astral import Observer
from astral.sun import sunrise
from suntime import Sun

print(f"suntime {version('suntime')}, astral {version('astral')}")
PLACES = {  # latitude, longitude, zone, and by how many days suntime is off
    "Apia": (-13.83, -171.76, "Pacific/Apia", 1),
    "Tonga": (-21.13, -175.20, "Pacific/Tongatapu", 1),
    "Chatham": (-43.95, -176.55, "Pacific/Chatham", 1),
    "Kiritimati": (1.87, -157.40, "Pacific/Kiritimati", 1),
    "Fiji": (-18.10, 178.40, "Pacific/Fiji", 0),
    "Adak": (51.88, -176.60, "America/Adak", 0),
}
same = True
for name, (latitude, longitude, zone, off) in PLACES.items():
    noon = datetime(2026, 1, 10, 12, tzinfo=ZoneInfo(zone))
    sun = Sun(latitude, longitude)
    rise, down = sun.get_sunrise_time(noon, noon.tzinfo), sun.get_sunset_time(noon, noon.tzinfo)
    right = sunrise(Observer(latitude, longitude), noon.date(), tzinfo=noon.tzinfo)
    print(f"{name}: {rise:%d January %H:%M} to {down:%d January %H:%M}, noon of the 10th is day: {rise < noon < down}")
    same = same and abs(rise - timedelta(days=off) - right) < timedelta(minutes=3)
    same = same and (rise < noon < down) is (off == 0)
sys.exit(0 if same else "This has changed: read the script again.")
PYTHON
