#!/usr/bin/env bash
# onnxruntime 1.32.0 takes NumPy arrays of the other byte order, and computes with garbage.
#
# Expected: the numbers of the array, as NumPy, SciPy and Pillow see them; or an error, as from PyTorch, PyArrow and simplejpeg.
# onnxruntime checks the type and the shape of what it is given.
# Seen: an array of type ">f4" passes for tensor(float). Its bytes are read in the order of the machine: 1, 2, 3 become 4.6e-41, 9.0e-44, 2.3e-41.
# `OrtValue.ortvalue_from_numpy` does the same. Nothing is raised or logged.
# Why it matters: astropy gives the pixels of a FITS file, the format of all-sky and scientific cameras, as ">f4" or ">i2", since the
# format demands that order. Every plot, mean and histogram of such an array shows the right picture, while the network gets numbers that follow
# the lowest bits: the embeddings are noise, in the reference as well as afterwards, and no drift of the camera can be seen in them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    onnxruntime==1.32.0 onnx==1.23.2 astropy==8.0.2 numpy==2.4.6
export ORT_DISABLE_TELEMETRY=1

"$folder/venv/bin/python" - "$folder/sky.fits" <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import onnxruntime
from astropy.io import fits
from onnx import TensorProto, helper

print(", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "astropy", "numpy")))
sky = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
fits.writeto(sys.argv[1], sky)
read = fits.getdata(sys.argv[1])
assert np.array_equal(read, sky)

kinds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in ("pixels", "same")]
graph = helper.make_graph([helper.make_node("Identity", ["pixels"], ["same"])], "graph", kinds[:1], kinds[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
session = onnxruntime.InferenceSession(model.SerializeToString())


def through(values):
    """The same values, by a network that changes nothing, and by an OrtValue."""
    (by_network,) = session.run(None, {"pixels": values})
    return by_network, onnxruntime.OrtValue.ortvalue_from_numpy(values).numpy()


native, foreign = through(sky), through(read)
print(f"from FITS: {read.dtype.str}, mean {read.mean():.2g}, first row {read[0]}")
print(f"behind the network: {foreign[0].dtype.str}, mean {foreign[0].mean():.2g}, first row {foreign[0][0]}")
garbage = np.frombuffer(sky.byteswap().tobytes(), np.float32).reshape(2, 3)
same = (
    read.dtype.str == ">f4"
    and all(np.array_equal(values, sky) for values in native)
    and all(np.array_equal(values, garbage) and values.max() < 1e-40 for values in foreign)
)
sys.exit(0 if same else "This has changed: read the script again.")
PYTHON
