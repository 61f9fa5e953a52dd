"""The answer that the process lives, which does not depend on what else goes on in it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lenswatch.server.pages import rendering
from support.waiting import until

PAGES = 45  # more than there are threads for pages


@pytest.mark.slow
def test_a_process_lives_and_is_ready_whatever_its_pages_wait_for(
    local: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, go_on = [], threading.Event()

    def slow_page(*_: Any, **__: Any) -> Any:
        waiting.append("")
        go_on.wait(60)
        raise RuntimeError("too late")

    monkeypatch.setattr(rendering, "_error_page", slow_page)
    with ThreadPoolExecutor(PAGES + 1) as pool:
        for _ in range(PAGES):
            pool.submit(local.client.get, "/nope", headers={"Accept": "text/html"})
        try:
            until(lambda: len(waiting) == 40)
            for path in ("/healthz", "/readyz", "/api/latest/user/self"):
                assert pool.submit(local.client.get, path).result(30).status_code == 200
        finally:
            go_on.set()
