#!/usr/bin/env bash
# webdav4 0.11.0 with fsspec 2026.9.0: `use_listings_cache`, an option of every fsspec file system, breaks the first request.
#
# Expected: fsspec documents `use_listings_cache` in its base class as an option of all file systems, to switch the cache of
# listings off; one that keeps no such cache takes it and does nothing.
# Seen: WebdavFileSystem hands it to the HTTP client, which raises TypeError (unexpected keyword argument). The same option
# is taken by the local, the memory and the HTTP file system of fsspec, whether they keep a cache or not.
# Why it matters: a program that lists large archives switches the cache off for all kinds of storage alike, since it
# grows with the archive; then WebDAV alone fails, with a message that names neither fsspec nor the option's meaning.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    webdav4==0.11.0 fsspec==2026.9.0 httpx==0.28.1 aiohttp==3.14.5
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import fsspec

seen = {}
for kind, given in {"file": [], "memory": [], "http": [], "webdav": ["http://127.0.0.1:9"]}.items():
    try:
        fsspec.get_filesystem_class(kind)(*given, use_listings_cache=False)
        seen[kind] = "taken"
    except TypeError as error:
        seen[kind] = f"TypeError: {error}"
print(f"webdav4 {version('webdav4')}, fsspec {version('fsspec')}: {seen}")
others = [said for kind, said in seen.items() if kind != "webdav"]
if others != ["taken"] * 3 or "use_listings_cache" not in seen["webdav"]:
    sys.exit("This has changed: read the script again.")
PYTHON
