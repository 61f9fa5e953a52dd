"""Forms that pages post: reading them, and checking that they were made for this browser."""

from __future__ import annotations

from typing import cast
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request

from lenswatch.server.http.reading import read_body
from lenswatch.server.http.services import Services
from lenswatch.server.identity.account import Account
from lenswatch.server.values.refusals import Refusal

__all__ = ["Form", "read_form"]

_MAX_FORM = 64 * 1024  # bytes

Form = dict[str, list[str]]


async def read_form(request: Request) -> Form:
    """Return the fields of a posted form.

    Raises:
        Refusal: It cannot be read, or was not made for this browser. Without accounts, the guard in front
            of the server refuses other sites.
    """
    services: Services = request.app.state.services
    body = await read_body(request, _MAX_FORM, services.limits.body_seconds)
    try:
        form = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        raise Refusal(
            400, "The form could not be read; load the page again and send it once more."
        ) from None
    account = cast("Account | None", getattr(request.app.state, "account", None))
    if account is not None:
        account.check_form(request, form)
    return form


def field(form: Form, name: str, default: str = "") -> str:
    """Return the text of a field, without space around it."""
    return form.get(name, [default])[0].strip()


def back_address(form: Form) -> str:
    """Return the address to go back to, which must be one of ours: relative, or "." for the overview."""
    wanted = field(form, "back")
    parts = urlsplit(wanted)
    if parts.scheme or parts.netloc or wanted.startswith(("/", "\\")):
        return "."
    return wanted or "."
