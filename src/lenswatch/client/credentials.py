"""Who the node is to the tracking server: nobody, the bearer of a token, or of a mytoken."""

from __future__ import annotations

import base64
import json
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from lenswatch.errors import TrackingRefused, TrackingUnavailable

__all__ = ["BearerToken", "Credentials", "Mytoken"]

LEEWAY = 30.0  # seconds before its end that an access token is no longer used
SHORTEST = 5.0  # seconds that one is used at least, whatever our clock says


class Credentials(AuthBase):
    """None at all. Given to `requests` all the same, which else would look into ~/.netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add what proves who we are."""
        return request

    def renew(self) -> bool:
        """Forget what was refused; whether another try may go better."""
        return False


class BearerToken(Credentials):
    """One access token or API key, for ever."""

    def __init__(self, token: str) -> None:
        self._token = token.strip()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Mytoken(Credentials):
    """Access tokens that a mytoken server gives for a mytoken, each used until shortly before its end.

    Any number of threads may share one.

    Raises (from the request that needs a token):
        TrackingUnavailable: the mytoken server cannot be reached.
        TrackingRefused: it does not accept the mytoken.
    """

    def __init__(self, server: str, mytoken: str, timeout: float = 10.0) -> None:
        self._server = server.rstrip("/")
        self._mytoken = mytoken
        self._timeout = timeout
        self._lock = threading.Lock()
        self._endpoint = ""
        self._token = ""
        self._use_until = 0.0  # on the monotonic clock

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        with self._lock:
            if time.monotonic() >= self._use_until:
                self._exchange()
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def renew(self) -> bool:
        """Exchange anew before the next request."""
        with self._lock:
            self._use_until = 0.0
        return True

    def _exchange(self) -> None:
        body = {"grant_type": "mytoken", "mytoken": self._mytoken}
        reply = self._ask("POST", self._find_endpoint(), body)
        token = reply.get("access_token")
        if not isinstance(token, str) or not token:
            raise TrackingUnavailable(f"{self._server}: its answer holds no access_token")
        lifetime = _lifetime(token, reply)
        self._token = token
        self._use_until = time.monotonic() + max(SHORTEST, lifetime - min(LEEWAY, lifetime / 10))

    def _find_endpoint(self) -> str:
        if not self._endpoint:
            found = self._ask("GET", f"{self._server}/.well-known/mytoken-configuration")
            endpoint = str(found.get("access_token_endpoint", ""))
            if urlsplit(endpoint).scheme not in {"https", urlsplit(self._server).scheme}:
                raise TrackingUnavailable(
                    f"{self._server}: names {endpoint!r} as its access_token_endpoint; "
                    "is MYTOKEN_SERVER right?"
                )
            self._endpoint = endpoint
        return self._endpoint

    def _ask(self, method: str, url: str, body: Any = None) -> dict[str, Any]:
        try:
            response = requests.request(
                method, url, json=body, timeout=self._timeout, auth=Credentials()
            )
        except requests.RequestException as error:
            self._endpoint = ""  # it may have moved
            raise TrackingUnavailable(f"{url}: cannot be asked for a token: {error}") from error
        reply = _object(response)
        if 400 <= response.status_code < 500 and response.status_code != 429:
            refused = TrackingRefused(f"{url}: {response.status_code} {_complaint(reply)}")
            refused.status = 401
            raise refused
        if not response.ok or reply is None:
            self._endpoint = ""
            raise TrackingUnavailable(f"{url}: {response.status_code} {_complaint(reply)}")
        return reply


def _object(response: requests.Response) -> dict[str, Any] | None:
    try:
        reply = response.json()
    except requests.JSONDecodeError:
        return None
    return reply if isinstance(reply, dict) else None


def _complaint(reply: dict[str, Any] | None) -> str:
    if reply is None:
        return "without a JSON object"
    parts = (reply.get("error"), reply.get("error_description"))
    return ": ".join(str(part)[:200] for part in parts if part) or "without a reason"


def _lifetime(token: str, reply: dict[str, Any]) -> float:
    """Seconds until the token ends, by its `exp`, else by the reply's `expires_in`."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"]) - time.time()
    except (IndexError, KeyError, TypeError, ValueError):
        pass
    try:
        return float(reply["expires_in"])
    except (KeyError, TypeError, ValueError):
        return 60.0
