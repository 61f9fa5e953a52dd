#!/usr/bin/env bash
# mlflow-skinny 3.17.2: `import mlflow.pyfunc` warns of MLflow's own type hints, so it fails where warnings are errors.
#
# Expected: a library can be imported with `-W error::UserWarning`, as test runs set it; a UserWarning tells the user of
# something that the user has done.
# Seen: the import infers a schema from classes of MLflow's own, finds `Any` there, and warns "Any type hint is inferred as
# AnyType ... Please use a more specific type hint", in colour. With warnings as errors the import raises UserWarning, and
# nobody who imports it can use a more specific type hint.
# Why it matters: tests that treat warnings as errors cannot load an MLflow model, and a command that loads one prints advice
# that its user cannot follow. Import it with warnings ignored, once, before the strict part.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check mlflow-skinny==3.17.2 numpy==2.1.3 pandas==2.3.3
export MLFLOW_DISABLE_TELEMETRY=true
"$folder/venv/bin/python" -W ignore -c 'import mlflow.pyfunc; print("mlflow", mlflow.__version__)'
said=$("$folder/venv/bin/python" -W error::UserWarning -c 'import mlflow.pyfunc' 2>&1 | tail -n 1 || true)
echo "with warnings as errors: $said"
case "$said" in
*UserWarning*"Any type hint is inferred as AnyType"*) ;;
*) echo "This has changed: read the script again."; exit 1 ;;
esac
