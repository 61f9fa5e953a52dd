#!/usr/bin/env bash
# Cancelling a running training of DEEPaaS 2.6.0 works, but the answer is 500 Internal Server Error.
#
# Expected: DELETE /v2/models/MODEL/train/UUID, "Cancel a running training", answers 200 with the status "cancelled".
# Seen: the training ends, and the answer is a plain 500.
# The pool swallows the cancellation and returns None, and the answer is made from None["finish_date"].
# Why it matters: a client that trusts the status tries again, and gets 404, because the training is gone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check deepaas==2.6.0 'setuptools==80.9.0'

mkdir -p "$folder/model/sleeper-1.0.dist-info"
printf 'Metadata-Version: 2.1\nName: sleeper\nVersion: 1.0\n' > "$folder/model/sleeper-1.0.dist-info/METADATA"
printf '[deepaas.v2.model]\nsleeper = sleeper\n' > "$folder/model/sleeper-1.0.dist-info/entry_points.txt"
cat > "$folder/model/sleeper.py" <<'PYTHON'
import pathlib
import time


def get_train_args():
    return {}


def train(**arguments):
    pathlib.Path("training").touch()
    time.sleep(600)


def get_predict_args():
    return {}


def predict(**arguments):
    return {}
PYTHON

cd "$folder"
PYTHONPATH="$folder/model" PATH="$folder/venv/bin:$PATH" "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import importlib.metadata
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

with socket.create_server(("127.0.0.1", 0)) as listener:
    port = listener.getsockname()[1]
url = f"http://127.0.0.1:{port}/v2/models/sleeper/train/"


def ask(method, address):
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method=method)) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, None


def wait_for(condition):
    end = time.monotonic() + 120
    while not condition():
        if time.monotonic() > end:
            sys.exit("This has changed: DEEPaaS did not start, or did not train.")
        time.sleep(0.1)


def answers():
    try:
        return ask("GET", url)[0] == 200
    except OSError:
        return False


with open("log", "wb") as log:
    server = subprocess.Popen(
        ["deepaas-run", f"--listen-port={port}"], stdout=log, stderr=log, start_new_session=True
    )
try:
    wait_for(answers)
    started = ask("POST", url)[1]
    wait_for(pathlib.Path("training").exists)
    cancelled = ask("DELETE", url + started["uuid"])[0]
    again = ask("DELETE", url + started["uuid"])[0]
finally:
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
print(f"deepaas {importlib.metadata.version('deepaas')}")
print(f"POST: {started['status']}; DELETE: {cancelled}; DELETE again: {again}")
sys.exit(0 if (cancelled, again) == (500, 404) else "This has changed: read the script again.")
PYTHON
