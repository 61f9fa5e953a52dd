#!/usr/bin/env bash
# pandas 3.1.1 reads the date and time of EXIF, 2023:07:28 08:30:36, as half past eight on 1 January of the year 1; pandas 2.3.3 refused it.
#
# Expected: a stamp that is not understood is an error, NaT with `errors="coerce"`, or stays text in read_csv. So it was with pandas 2.3.3.
# Seen: to_datetime and read_csv(parse_dates=...) give 0001-01-01 08:30:36 for any day, and `errors="coerce"` does so too.
# dateutil, which pandas asks for what it cannot read, keeps the time of the day and takes the date from a default. That is the year 1,
# which was outside of the nanoseconds of pandas 2 and therefore an error by luck. The microseconds of pandas 3 hold it.
# There is a warning that the format could not be inferred, as for many stamps that are read rightly.
# `pandas.Timestamp` gives the year 1 without a warning, and did so in pandas 2.3.3.
# Why it matters: it is the notation of every camera, and what ExifTool writes to CSV. After an upgrade a script goes on without an
# error, with all days of the archive laid on top of each other: sorting, daily means and rates are of one day.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 2.3.3 3.1.1; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
        "pandas==$version" numpy==2.1.3 python-dateutil==4.0.0
done
cat > "$folder/read.py" <<'PYTHON'
import io
import sys
import warnings

import pandas as pd

days = ["2023:07:28 08:30:36", "2023:09:01 08:30:36"]
csv = "\n".join(["taken", *days])


def seen(read):
    """The moments as text, or the error; and whether there was a warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = sorted({str(moment) for moment in read()})
        except ValueError as error:
            found = [type(error).__name__]
    return ", ".join(found) + (" (with a warning)" if caught else "")


ways = {
    "Timestamp": lambda: [pd.Timestamp(day) for day in days],
    "to_datetime": lambda: pd.to_datetime(days),
    "to_datetime, coerce": lambda: pd.to_datetime(days, errors="coerce"),
    "read_csv": lambda: pd.read_csv(io.StringIO(csv), parse_dates=["taken"])["taken"],
}
found = {way: seen(read) for way, read in ways.items()}
print(f"pandas {pd.__version__}")
for way, moments in found.items():
    print(f"{way}: {moments}")
year_1 = "0001-01-01 08:30:36"
if sys.argv[1] == "2.3.3":
    expected = {
        "Timestamp": year_1,
        "to_datetime": "OutOfBoundsDatetime (with a warning)",
        "to_datetime, coerce": "NaT (with a warning)",
        "read_csv": ", ".join(days) + " (with a warning)",
    }
else:
    expected = {way: year_1 + ("" if way == "Timestamp" else " (with a warning)") for way in ways}
sys.exit(0 if found == expected else "This has changed: read the script again.")
PYTHON
for version in 2.3.3 3.1.1; do
    "$folder/$version/bin/python" "$folder/read.py" "$version"
done
