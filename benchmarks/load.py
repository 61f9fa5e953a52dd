"""Pictures posted over HTTP in a closed loop: each client sends its next one when the last is answered."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Sequence

__all__ = ["form", "post_all"]

BOUNDARY = "picture-of-the-benchmark"
HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(picture: bytes) -> bytes:
    """Return the body of an upload of a JPEG."""
    head = (
        f"--{BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="input_file"; filename="x.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return head.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()


def post_all(port: int, path: str, bodies: Sequence[bytes], clients: int) -> list[float]:
    """Post each body once, and return the latencies in milliseconds.

    Raises:
        RuntimeError: A request was not answered with 200.
    """
    waiting, taken, failed = iter(bodies), list[float](), list[str]()
    turn = threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while not failed:
            with turn:
                body = next(waiting, None)
            if body is None:
                break
            started = time.perf_counter()
            connection.request("POST", path, body, HEADERS)
            reply = connection.getresponse()
            text = reply.read()
            taken.append((time.perf_counter() - started) * 1e3)
            if reply.status != 200:
                failed.append(f"{reply.status}: {text.decode(errors='replace')[:200]}")
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise RuntimeError(failed[0])
    return taken
