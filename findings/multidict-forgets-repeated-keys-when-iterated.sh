#!/usr/bin/env bash
# Iterating a MultiDict gives each key once from multidict 7.1 on; up to 7.0 it gave a repeated key as often as it occurs.
#
# Expected: `list(multidict)` has as many entries as `len(multidict)`, as for every mapping.
# Seen: with 7.2.1, `MultiDict([("stream", "a"), ("stream", "b")])` has the length 2 and the keys ["stream"].
# With 7.0.0 the keys are ["stream", "stream"]. `items()` and `getall()` give both values in each of them.
# Why it matters: aiohttp gives form fields and query strings as a MultiDict; a check for fields that were sent twice, by counting keys,
# still passes all its tests of single fields and sees no repeated one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/old"
python3 -m venv "$folder/new"
"$folder/old/bin/python" -m pip install --quiet --disable-pip-version-check multidict==7.0.0
"$folder/new/bin/python" -m pip install --quiet --disable-pip-version-check multidict==7.2.1

keys() {
    "$1" - <<'PYTHON'
from importlib.metadata import version

from multidict import MultiDict

form = MultiDict([("stream", "a"), ("stream", "b")])
print(version("multidict"), len(form), list(form), [value for _, value in form.items()])
PYTHON
}

old=$(keys "$folder/old/bin/python")
new=$(keys "$folder/new/bin/python")
printf 'version, length, keys, values:\n%s\n%s\n' "$old" "$new"
[ "$old" = "7.0.0 2 ['stream', 'stream'] ['a', 'b']" ] && [ "$new" = "7.2.1 2 ['stream'] ['a', 'b']" ] ||
    { echo "This has changed: read the script again."; exit 1; }
