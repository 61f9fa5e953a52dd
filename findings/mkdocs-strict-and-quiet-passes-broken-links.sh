#!/usr/bin/env bash
# MkDocs 1.6.1: `build --strict` fails on a broken link, and `build --strict --quiet` passes it.
#
# Expected: --quiet changes what is printed, and --strict what fails.
# Seen: with both, the exit status is 0. --strict counts the warnings that are logged, and --quiet logs none.
# Why it matters: a documentation build in CI that was made quiet no longer checks anything.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check mkdocs==1.6.1
mkdir "$folder/docs"
echo "site_name: example" > "$folder/mkdocs.yml"
echo "See [the page](nowhere.md)." > "$folder/docs/index.md"
cd "$folder"

status() {
    local found=0
    "$folder/venv/bin/python" -m mkdocs build "$@" > "$folder/log" 2>&1 || found=$?
    echo "$found"
}

strict=$(status --strict)
quiet=$(status --strict --quiet)
"$folder/venv/bin/python" -c "from importlib.metadata import version; print(\"MkDocs\", version(\"mkdocs\"))"
echo "exit status with a broken link: --strict $strict, --strict --quiet $quiet"
[ "$strict" = 1 ] && [ "$quiet" = 0 ] || { echo "This has changed: read the script again."; exit 1; }
