#!/usr/bin/env bash
# frictionless 5.21.0 writes the word "any" in the place of each time, if the schema says that times come in any format.
#
# Expected: a table that was read and found valid is written to CSV with its times, as it is for the format "default" and for a pattern.
# Table Schema knows the format "any" for dates, times and moments, for tables that mix their notations.
# Seen: the table is valid and its rows have the right times in memory. `write` to a CSV file gives "any" in each cell of the three types.
# It reports no error. The file that it wrote is no longer valid by the same schema.
# Why it matters: Camtrap DP, the exchange format of camera traps, is a frictionless package. Who cleans or filters the deployments of a
# station whose sheets mix notations, and writes them back, loses every date in them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check frictionless==5.21.0

cd "$folder"
cat > deployments.csv <<'CSV'
camera,start,day,clock
pier,2023-07-28T08:30:36+02:00,2023-07-28,08:30:36
reef,28 July 2023 09:00,28 July 2023,9:00
CSV
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version
from pathlib import Path

from frictionless import Resource, Schema

print(f"frictionless {version('frictionless')}")


def resource(path, times):
    """The table, whose times have a format."""
    kinds = {"start": "datetime", "day": "date", "clock": "time"}
    fields = [{"name": name, "type": kind, "format": times} for name, kind in kinds.items()]
    schema = Schema.from_descriptor({"fields": [{"name": "camera", "type": "string"}, *fields]})
    return Resource(path=path, schema=schema)


def written(path, times):
    """The rows of the table after it was read, and written to CSV."""
    resource(path, times).write("written.csv")
    return Path("written.csv").read_text().splitlines()[1:]


read = resource("deployments.csv", "any")
valid, moments = read.validate().valid, [str(row["start"]) for row in read.read_rows()]
lines = written("deployments.csv", "any")
print(f"valid: {valid}, moments in memory: {moments}")
print(f"written with the format any: {lines}")
again = resource("written.csv", "any").validate().valid
print(f"the written table is valid: {again}")
Path("iso.csv").write_text("camera,start,day,clock\npier,2023-07-28T08:30:36Z,2023-07-28,08:30:36\n")
default = written("iso.csv", "default")
print(f"written with the format default: {default}")
same = (
    valid
    and moments == ["2023-07-28 08:30:36+02:00", "2023-07-28 09:00:00"]
    and lines == ["pier,any,any,any", "reef,any,any,any"]
    and not again
    and default == ["pier,2023-07-28T08:30:36Z,2023-07-28,08:30:36"]
)
sys.exit(0 if same else "This has changed: read the script again.")
PYTHON
