"""API keys made past HTTP, as the command line makes them."""

from collections.abc import Sequence

from flask import Flask

from contacts_service.keys.keyring import Keyring, create_key
from contacts_service.web.auth import SCOPES


def make_key(
    app: Flask, *, name: str = "test", scopes: Sequence[str] = SCOPES, accounts: list[str] | None = None
) -> str:
    """Create a key that the application knows at once."""
    key = create_key(name, scopes=list(scopes), accounts=accounts)
    app.extensions["keyring"] = Keyring()
    return key
