#!/usr/bin/env bash
# onnxruntime 1.32.0 on Linux: importing it writes an identifier for reports, and its own switch comes too late.
#
# Expected: a library for inference that is imported, and not used, writes no file; `disable_telemetry_events()`, called
# first of all, leaves nothing behind either.
# Seen: `import onnxruntime` writes `.ses` into the temporary folder: a time in milliseconds and an identifier (a UUID), which
# belong to the reports to its maker that the wheels for Linux have switched on. Both stay after
# `disable_telemetry_events()`. With ORT_DISABLE_TELEMETRY=1 in the environment before the import there is no such file.
# Why it matters: nodes stand in networks of others, where nothing may be sent to third parties, and a check that a
# service leaves no files in its temporary folder finds one that no code of that service wrote.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check onnxruntime==1.32.0
unset ORT_DISABLE_TELEMETRY

left_by() { # what a line of Python leaves in a temporary folder of its own
    local temporary
    temporary=$(mktemp -d -p "$folder")
    TMPDIR=$temporary "$folder/venv/bin/python" -c "$1"
    (cd "$temporary" && find . -type f -printf '%f ')
}

alone=$(left_by 'import onnxruntime')
late=$(left_by 'import onnxruntime; onnxruntime.disable_telemetry_events()')
forbidden=$(ORT_DISABLE_TELEMETRY=1 left_by 'import onnxruntime')
echo "onnxruntime 1.32.0 leaves: imported '$alone', switched off by its function '$late', by the environment '$forbidden'"
[ "$alone" = ".ses " ] && [ "$late" = ".ses " ] && [ -z "$forbidden" ] || { echo "This has changed: read the script again."; exit 1; }
