#!/usr/bin/env bash
# Jupyter Server 2.17.0 starts without its settings file when that raises an error, and without the address and port in it.
#
# Expected: a server whose settings cannot be read ends with an error, as deepaas-run and most others do.
# Seen: it logs "Exception while loading config file", starts with its defaults, and answers on the loopback address alone.
# Here the file imports pkg_resources, as the settings that AI4OS gives to JupyterLab do; setuptools 82 does not have that any more.
# So a routine update of setuptools makes the JupyterLab of a container unreachable, while the process looks well.
# With TRAITLETS_APPLICATION_RAISE_CONFIG_FILE_ERROR=1 it ends with the error of the file.
# Why it matters: keep setuptools below 82 in an image whose JupyterLab is set up so, or set that variable.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    jupyter-server==2.17.0 traitlets==5.14.3 setuptools==82.0.0

"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import importlib.metadata
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

folder = Path(sys.argv[1])
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
address = f"c.ServerApp.ip = '127.0.0.2'\nc.ServerApp.port = {port}\n"
settings = {"plain": address, "with pkg_resources": f"import pkg_resources\n{address}"}


def started(text, **variables):
    """The address that a server with these settings says it serves, or the word "ended"."""
    (folder / "settings.py").write_text(text)
    home = {"HOME": str(folder), "JUPYTER_RUNTIME_DIR": str(folder), **variables}
    command = [folder / "venv/bin/jupyter-server", "--allow-root", "--no-browser"]
    command += [f"--config={folder / 'settings.py'}", "--ServerApp.port_retries=50"]
    with (folder / "log").open("w+") as log:
        server = subprocess.Popen(command, env=os.environ | home, cwd=folder, stderr=log)
        try:
            for _ in range(600):
                said = (folder / "log").read_text()
                found = re.search(r"http://(127\.\d+\.\d+\.\d+|localhost):(\d+)/", said)
                if found:
                    return found[1], int(found[2]) == port, "loading config file" in said
                if server.poll() is not None:
                    return "ended"
                time.sleep(0.1)
            return "silent"
        finally:
            server.terminate()
            server.wait()


for name in ("jupyter-server", "traitlets", "setuptools"):
    print(name, importlib.metadata.version(name))
seen = {name: started(text) for name, text in settings.items()}
strict = {"TRAITLETS_APPLICATION_RAISE_CONFIG_FILE_ERROR": "1"}
seen["with pkg_resources, strict"] = started(settings["with pkg_resources"], **strict)
for case, found in seen.items():
    print(f"{case}: {found}")
expected = {
    "plain": ("127.0.0.2", True, False),
    "with pkg_resources": ("localhost", False, True),
    "with pkg_resources, strict": "ended",
}
sys.exit(0 if seen == expected else "This has changed: read the script again.")
PYTHON
