"""Forms on the server's pages."""

import re


def form_token(page: str) -> str:
    """Return the token that a form of the page must send."""
    found = re.search(r'name="form" value="([^"]+)"', page)
    assert found, page[:500]
    return found[1]
