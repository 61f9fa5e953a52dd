"""The certified `oidc-provider` of npm, and how somebody logs in there."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2 as httpx
import pytest

PACKAGE = "oidc-provider@9"


def install_provider(folder: Path) -> None:
    """Put the provider into `folder`; skips the test where Node.js is missing."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip(
            "no Node.js: install nodejs and npm to test against a real OpenID Connect provider"
        )
    command = [
        "npm",
        "install",
        "--no-audit",
        "--no-fund",
        "--silent",
        "--prefix",
        str(folder),
        PACKAGE,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{PACKAGE} cannot be installed here: {done.stderr.strip()[-200:]}")


@contextlib.contextmanager
def provider_running(packages: Path, port: int, callback: str) -> Iterator[str]:
    """The address of a provider that runs; `callback` is where logged-in browsers go."""
    command = ["node", str(Path(__file__).with_name("provider.mjs")), str(port), callback]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "cwd": packages}
    with subprocess.Popen(command, text=True, **quiet) as process:  # type: ignore[call-overload]
        try:
            assert process.stdout.readline().strip() == "ready"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def visit(browser: httpx.Client, address: str, subject: str, home: str) -> httpx.Response:
    """Follow redirects and fill in the provider's forms, until `home` is reached or wants to be."""
    response = browser.get(address)
    for _ in range(20):
        if response.is_redirect:
            target = urljoin(str(response.url), response.headers["Location"])
            if target.startswith(home):
                return response
            response = browser.get(target)
            continue
        form = re.search(r'<form[^>]*action="([^"]+)"', response.text)
        assert form, response.text[:500]
        fields = dict(
            re.findall(r'<input[^>]*type="hidden" name="(\w+)" value="([^"]*)"', response.text)
        )
        if 'name="login"' in response.text:
            fields |= {"login": subject, "password": "any"}
        response = browser.post(urljoin(str(response.url), html.unescape(form[1])), data=fields)
    raise AssertionError("the log-in does not end")


def access_token(provider: str, subject: str, *, resource: str | None) -> str:
    """An access token by the code flow: a JWT for a `resource`, else an opaque one."""
    verifier = secrets.token_urlsafe(48)
    challenge = (
        base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    )
    asked = {
        "client_id": "native",
        "response_type": "code",
        "redirect_uri": "http://127.0.0.1/native",
        "scope": "openid email profile",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    } | ({"resource": resource} if resource else {})
    with httpx.Client(timeout=60) as browser:
        address = str(httpx.URL(f"{provider}/auth", params=asked))
        response = visit(browser, address, subject, "http://127.0.0.1/native")
        code = parse_qs(urlsplit(response.headers["Location"]).query)["code"][0]
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": "http://127.0.0.1/native",
            "client_id": "native",
            "code_verifier": verifier,
        }
        return str(browser.post(f"{provider}/token", data=form).json()["access_token"])
