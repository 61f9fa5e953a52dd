"""The state of the account pages: log-in, sessions, and the protection of their forms."""

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
    """The objects that the account pages share."""

    database: Database
    sessions: SessionStore
    key_bearer: keys.KeyBearer
    oidc: OidcLogin | None
    signer: URLSafeTimedSerializer

    @property
    def issuers(self) -> list[str]:
        """The hosts of the providers that offer a log-in."""
        if self.oidc is None or not self.oidc.config.client_id:
            return []
        return [urlsplit(address).netloc for address in self.oidc.config.issuers]

    def form_token(self, request: Request) -> str:
        """Return the token that a form on a page for this browser must contain."""
        return str(self.signer.dumps(_session(request)))

    def check_form(self, request: Request, form: dict[str, list[str]]) -> None:
        """Refuse with 403 a form that was not made for this browser."""
        try:
            bound = self.signer.loads(form.get("form", [""])[0], max_age=SESSION_SECONDS)
        except BadData:
            bound = None
        if bound != _session(request) or not from_here(request):
            raise forbidden("This form has expired; load the page again.")


def _session(request: Request) -> str:
    """Return a digest of the session cookie, which itself must not appear on a page."""
    return digest(request.cookies.get(COOKIE, ""))
