"""Authentication of the client: none, an access token, or a mytoken."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from lenswatch.errors import TrackingRefused, TrackingUnavailable

__all__ = ["BearerToken", "Credentials", "Mytoken"]


class Credentials(AuthBase):
    """No authentication. Without this object, `requests` would use ~/.netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request with the headers that authenticate us."""
        return request

    def renew(self) -> bool:
        """Forget a refused token, and return True when another try may succeed."""
        return False


class BearerToken(Credentials):
    """Authentication by one access token or API key."""

    def __init__(self, token: str) -> None:
        self._token = token.strip()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request with the token."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Mytoken(Credentials):
    """Authentication by access tokens from a mytoken server. Threads may share one object.

    A request that needs a new token raises TrackingUnavailable when the mytoken server cannot be reached, and
    TrackingRefused when it does not accept the mytoken.

    Args:
        server: Address of the mytoken server.
        mytoken: The mytoken.
        timeout: Seconds to wait for an answer of the mytoken server.
        leeway: Seconds before its expiry from which an access token is not used any more.
        shortest: Seconds for which it is used at least, in case our clock is wrong.
        clock: Seconds on a monotonic clock.
    """

    def __init__(
        self,
        server: str,
        mytoken: str,
        timeout: float = 10.0,
        *,
        leeway: float = 30.0,
        shortest: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server.rstrip("/")
        self._mytoken = mytoken
        self._timeout = timeout
        self._leeway, self._shortest = leeway, shortest
        self._clock = clock
        self._lock = threading.Lock()
        self._endpoint = ""
        self._token = ""
        self._use_until = 0.0  # by the clock

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request with a valid access token."""
        with self._lock:
            if self._clock() >= self._use_until:
                self._exchange()
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def renew(self) -> bool:
        """Get a new access token before the next request."""
        with self._lock:
            self._use_until = 0.0
        return True

    def _exchange(self) -> None:
        body = {"grant_type": "mytoken", "mytoken": self._mytoken}
        reply = self._ask("POST", self._find_endpoint(), body)
        token = reply.get("access_token")
        if not isinstance(token, str) or not token:
            raise TrackingUnavailable(
                f"{self._server}: the answer has no access_token; check MYTOKEN_SERVER"
            )
        lifetime = _lifetime(token, reply)
        self._token = token
        usable = max(self._shortest, lifetime - min(self._leeway, lifetime / 10))
        self._use_until = self._clock() + usable

    def _find_endpoint(self) -> str:
        if not self._endpoint:
            found = self._ask("GET", f"{self._server}/.well-known/mytoken-configuration")
            endpoint = str(found.get("access_token_endpoint", ""))
            if urlsplit(endpoint).scheme not in {"https", urlsplit(self._server).scheme}:
                raise TrackingUnavailable(
                    f"{self._server}: its access_token_endpoint is {endpoint!r}, which is not https; "
                    "check MYTOKEN_SERVER"
                )
            self._endpoint = endpoint
        return self._endpoint

    def _ask(self, method: str, url: str, body: Any = None) -> dict[str, Any]:
        try:
            response = requests.request(
                method,
                url,
                json=body,
                timeout=self._timeout,
                auth=Credentials(),
                allow_redirects=body is None,  # a mytoken goes to its own server only
            )
        except requests.RequestException as error:
            self._endpoint = ""  # it may have moved
            raise TrackingUnavailable(f"{url}: cannot be asked for a token: {error}") from error
        reply = _object(response)
        if 400 <= response.status_code < 500 and response.status_code != 429 and _is_error(reply):
            refused = TrackingRefused(f"{url}: {response.status_code} {_complaint(reply)}")
            refused.status = 401
            raise refused
        if not 200 <= response.status_code < 300 or reply is None:
            self._endpoint = ""
            raise TrackingUnavailable(f"{url}: {response.status_code} {_complaint(reply)}")
        return reply


def _object(response: requests.Response) -> dict[str, Any] | None:
    try:
        reply = response.json()
    except requests.JSONDecodeError:
        return None
    return reply if isinstance(reply, dict) else None


def _is_error(reply: dict[str, Any] | None) -> bool:
    """Return True for an error of OAuth 2.0 (RFC 6749, 5.2), which no gateway gives in the server's place."""
    return reply is not None and isinstance(reply.get("error"), str)


def _complaint(reply: dict[str, Any] | None) -> str:
    if reply is None:
        return "without a JSON object"
    parts = (reply.get("error"), reply.get("error_description"))
    return ": ".join(str(part)[:200] for part in parts if part) or "without a reason"


def _lifetime(token: str, reply: dict[str, Any]) -> float:
    """Return the seconds until the token expires, by its `exp`, else by the reply's `expires_in`."""
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
