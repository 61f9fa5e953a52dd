#!/usr/bin/env bash
# NumPy 2.1.3 on glibc: the kernel maps temporaries anew until the process has once freed a larger array.
#
# Expected: the speed of a loop over images does not depend on arrays that nobody uses any more.
# Seen: with temporaries of some 100 KB, thousands of page faults for 20 rounds, and none after one np.empty(2**24) that is thrown away. On a
# virtual machine the loop takes up to three times as long with them. glibc raises its threshold for
# mapping (128 KB) and for trimming only when a mapped piece is freed; NumPy's cache holds pieces below 1 KB.
# Why it matters: importing torch happens to free such a piece. Who serves by onnxruntime instead, to save
# memory, gets slower image arithmetic and finds nothing in a profile.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.1.3
cat > "$folder/loop.py" <<'END'
import resource
import sys

import numpy as np


def work() -> None:
    image = np.ones((7, 128, 160), np.float32)
    for _ in range(20):
        image = image * 2


if sys.argv[1] == "after":
    np.empty(2**24, np.uint8)
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
END
plain=$("$folder/venv/bin/python" "$folder/loop.py" plain)
after=$("$folder/venv/bin/python" "$folder/loop.py" after)
echo "NumPy 2.1.3: page faults in 20 rounds: $plain, after a large array was freed: $after"
[ "$plain" -gt 1000 ] && [ "$after" -lt 100 ] || { echo "This has changed: read the script again."; exit 1; }
