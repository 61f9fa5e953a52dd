"""Webhooks, signed as the Standard Webhooks specification says (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import httpx2 as httpx

from lenswatch.server.alerts.channels.guard import Allowed
from lenswatch.server.alerts.deliveries import Outcome
from lenswatch.server.alerts.messages import Message, Picture, Statement
from lenswatch.server.identity.fetching import tls_context
from lenswatch.server.values import stamps

__all__ = ["body_of", "new_secret", "send", "signature"]

SECONDS = 15.0  # for a whole delivery
_PREFIX = "whsec_"
_GONE = 410


def new_secret() -> str:
    """Return a secret of 256 random bits, in the form that verifying libraries take."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(secret: str, delivery: str, timestamp: int, body: bytes) -> str:
    """Return the header `webhook-signature`: HMAC-SHA256 over `ID.TIMESTAMP.BODY`, in base64."""
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    signed = f"{delivery}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def body_of(message: Message) -> bytes:
    """Return the JSON of a message; docs/alerts.md describes it."""
    document = {
        "type": message.kind,
        "timestamp": stamps.iso(message.created_at),
        "data": {
            "id": message.id,
            "title": message.title,
            "text": message.text,
            "link": message.link,
            "experiment": message.experiment,
            "rule": message.rule,
            "alarms": [_alarm(statement, message) for statement in message.statements],
        },
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _alarm(statement: Statement, message: Message) -> dict[str, Any]:
    facts = statement.facts
    ended = facts["ended_at"]
    return {
        "what": facts["what"],
        "kind": facts["kind"],
        "stream": facts["stream"],
        "name": facts["name"],
        "place": facts["place"],
        "since": stamps.iso(facts["since"]),
        "ended_at": None if ended is None else stamps.iso(ended),
        "headline": statement.headline(message.created_at),
        "evidence": statement.evidence(),
        "causes": list(statement.causes),
        "ratio": facts.get("ratio"),
        "shed": facts["shed"],
        "event": facts.get("event"),
        "drift": statement.drift,
        "link": statement.link,
        "pictures": [_picture(picture) for picture in statement.pictures],
    }


def _picture(picture: Picture) -> dict[str, str]:
    data = base64.b64encode(picture.data).decode()
    return {
        "role": picture.role,
        "caption": picture.caption,
        "media_type": "image/jpeg",
        "data": data,
    }


def send(target: Mapping[str, Any], secret: str, message: Message, allowed: Allowed) -> Outcome:
    """Send a message and return the outcome, within SECONDS."""
    started = time.monotonic()
    try:
        answer = anyio.run(partial(_post, target["url"], secret, message, allowed))
    except TimeoutError:
        return Outcome(False, f"no answer in {SECONDS:.0f} s")
    except (OSError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return Outcome(
            False, f"no connection: {' '.join(str(error).split()) or type(error).__name__}"
        )
    took = time.monotonic() - started
    return _outcome(answer, f"{answer.status_code} in {took:.2f} s")


async def _post(url: str, secret: str, message: Message, allowed: Allowed) -> httpx.Response:
    body, timestamp = body_of(message), stamps.now() // 10**6
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Lenswatch",
        "webhook-id": message.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, message.id, timestamp, body),
    }
    address = httpx.URL(url)
    port = address.port or (443 if address.scheme == "https" else 80)
    with anyio.fail_after(SECONDS):
        hosts = await anyio.to_thread.run_sync(
            allowed.resolve, address.host, port, abandon_on_cancel=True
        )
        async with httpx.AsyncClient(
            verify=tls_context(), trust_env=False, follow_redirects=False, timeout=None
        ) as client:
            return await _first(client, address, hosts, body, headers)


async def _first(
    client: httpx.AsyncClient,
    address: httpx.URL,
    hosts: list[str],
    body: bytes,
    headers: dict[str, str],
) -> httpx.Response:
    """Return the answer of the first of `hosts` that can be connected to; its body is not read.

    The addresses that were checked are connected to: a second look-up might give others.
    """
    headers = headers | {"Host": address.netloc.decode().rpartition("@")[2]}
    for position, host in enumerate(hosts):
        request = client.build_request(
            "POST",
            address.copy_with(host=host),
            content=body,
            headers=headers,
            extensions={"sni_hostname": address.host},
        )
        try:
            answer = await client.send(request, stream=True)
        except httpx.ConnectError:
            if position == len(hosts) - 1:
                raise
        else:
            await answer.aclose()
            return answer
    raise AssertionError("unreachable")


def _outcome(answer: httpx.Response, result: str) -> Outcome:
    if answer.is_success:
        return Outcome(True, result)
    if answer.is_redirect:
        return Outcome(False, f"{result}; redirects are not followed")
    asked = answer.headers.get("retry-after", "")
    retry_after = float(asked) if asked.isdigit() and len(asked) < 7 else None
    return Outcome(False, result, final=answer.status_code == _GONE, retry_after=retry_after)
