#!/usr/bin/env bash
# mlflow-skinny 3.17.2: importing it sets the level of the logger "mlflow" to INFO, whatever the program has set it to before.
#
# Expected: a program that wants no log of a library sets the level of the library's logger, before or after the import, as
# the logging HOWTO says of libraries: they leave levels and handlers to the program.
# Seen: with the level CRITICAL before `import mlflow`, the level is INFO after it, a handler to standard error is there, and
# records no longer reach the handlers of the program. A level that is set after the import stays.
# Why it matters: a command that imports MLflow only when it is needed, and had silenced it at its start, prints MLflow's
# lines among its own; and a level that is put back "as it was" is put back to the wrong one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check mlflow-skinny==3.17.2
cat > "$folder/try.py" <<'PYTHON'
import logging

logger = logging.getLogger("mlflow")
logger.setLevel(logging.CRITICAL)
import mlflow

after = logging.getLevelName(logger.level)
handlers = [type(each).__name__ for each in logger.handlers]
print(f"mlflow {mlflow.__version__}: CRITICAL before the import, {after} after it, handlers {handlers}, "
      f"propagates: {logger.propagate}")
changed = (after, handlers, logger.propagate) != ("INFO", ["StreamHandler"], False)
raise SystemExit("This has changed: read the script again." if changed else 0)
PYTHON
MLFLOW_DISABLE_TELEMETRY=true "$folder/venv/bin/python" "$folder/try.py"
