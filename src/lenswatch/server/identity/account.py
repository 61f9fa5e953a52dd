"""Accounts: how people log in to the pages, and the forms that they post there."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from itsdangerous import BadData, URLSafeTimedSerializer
from starlette.requests import Request

from lenswatch.server.db.database import Database
from lenswatch.server.identity import keys
from lenswatch.server.identity.oidc_login import OidcLogin
from lenswatch.server.identity.sessions import COOKIE, SESSION_SECONDS, SessionStore, from_here
from lenswatch.server.values.refusals import forbidden
from lenswatch.server.values.storable import digest

__all__ = ["Account"]


@dataclass(frozen=True)
class Account:
    """What these pages work with."""

    database: Database
    sessions: SessionStore
    key_bearer: keys.KeyBearer
    oidc: OidcLogin | None
    signer: URLSafeTimedSerializer

    @property
    def issuers(self) -> list[str]:
        """The providers that one may log in with, by host."""
        if self.oidc is None or not self.oidc.config.client_id:
            return []
        return [urlsplit(address).netloc for address in self.oidc.config.issuers]

    def form_token(self, request: Request) -> str:
        """What a form on a page for this browser must carry."""
        return str(self.signer.dumps(_session(request)))

    def check_form(self, request: Request, form: dict[str, list[str]]) -> None:
        """403 unless the form is one that we gave this browser."""
        try:
            bound = self.signer.loads(form.get("form", [""])[0], max_age=SESSION_SECONDS)
        except BadData:
            bound = None
        if bound != _session(request) or not from_here(request):
            raise forbidden("This form has expired; load the page again.")


def _session(request: Request) -> str:
    """Stands for the browser's session; not the cookie itself, which no page should show."""
    return digest(request.cookies.get(COOKIE, ""))
