#!/usr/bin/env bash
# dateparser 1.5.0 reads the stamp 20230728T083036Z as a duration in Lower Sorbian.
#
# Expected: an ISO 8601 stamp in basic form, as cameras write it in file names, is that moment, or None.
# Seen: 20230728T083036Z is a day in 1799, counted back from today, and 20230101T000000Z is today itself.
# The language that is found is "dsb", Lower Sorbian, where ź abbreviates "day": 083036Z becomes 83,036 days ago.
# The extended form, 2023-07-28T08:30:36Z, is read rightly, and with languages=["en"] the basic form gives None.
# Why it matters: the answer is a date like any other; pictures named this way are sorted into other centuries, and
# those of midnight on 1 January always into today.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check dateparser==1.5.0

"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys
from datetime import datetime

import dateparser
from dateparser.date import DateDataParser

print(f"dateparser {dateparser.__version__}")
settings = {"RELATIVE_BASE": datetime(2026, 11, 28, 12)}
stamps = ("20230728T083036Z", "20230101T000000Z", "2023-07-28T08:30:36Z")
seen = {}
for stamp in stamps:
    anyhow = dateparser.parse(stamp, settings=settings)
    english = dateparser.parse(stamp, languages=["en"], settings=settings)
    seen[stamp] = (str(anyhow), str(english))
    print(f"{stamp}: {anyhow}; in English: {english}")
language = DateDataParser(settings=settings).get_date_data("20230728T083036Z").locale
print(f"language found for the first: {language}")
right = "2023-07-28 08:30:36+00:00"
expected = {
    "20230728T083036Z": ("1799-07-25 12:00:00", "None"),
    "20230101T000000Z": ("2026-11-28 12:00:00", "None"),
    "2023-07-28T08:30:36Z": (right, right),
}
same = seen == expected and language == "dsb"
sys.exit(0 if same else "This has changed: read the script again.")
PYTHON
