"""Who calls: a key in a header, or while no key exists any caller on the same machine."""

from dataclasses import dataclass
from ipaddress import ip_address

from flask import Request, current_app, g

from contacts_service.db.caller import AllowedAccounts, actor, on_behalf_of
from contacts_service.errors import InvalidRequest, KeyRequired, LocalOnly, ScopeMissing, Unauthenticated

READ, WRITE, DELETE = SCOPES = ("contacts:read", "contacts:write", "contacts:delete")
SCOPE_OF_METHOD = {"GET": READ, "HEAD": READ, "POST": WRITE, "PUT": WRITE, "PATCH": WRITE, "DELETE": DELETE}
SECURITY_SCHEMES = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
}
MAX_ACTOR_LENGTH = 255
# Headers by which a proxy says that it forwards a request of another machine.
_FORWARDED = (
    "HTTP_X_FORWARDED_",
    "HTTP_FORWARDED",
    "HTTP_X_REAL_IP",
    "HTTP_X_CLIENT_IP",
    "HTTP_TRUE_CLIENT_IP",
    "HTTP_CF_",
    "HTTP_VIA",
)


@dataclass(frozen=True)
class Caller:
    """The program that makes a request, and what its key allows."""

    prefix: str | None
    """The public part of the key; None for a caller without key on the same machine."""
    name: str | None
    scopes: frozenset[str]
    allowed_accounts: AllowedAccounts


_LOCAL_CALLER = Caller(prefix=None, name=None, scopes=frozenset(SCOPES), allowed_accounts=None)


def authenticate(request: Request) -> None:
    """Find out who calls, as ``g.caller``, before anything else of the request is looked at.

    Raises Unauthenticated, KeyRequired, LocalOnly, ScopeMissing, InvalidRequest, Unavailable.
    """
    keyring, headers = current_app.extensions["keyring"], request.environ
    presented = headers.get("HTTP_X_API_KEY")
    if presented is None and "HTTP_AUTHORIZATION" in headers:
        scheme, _, token = headers["HTTP_AUTHORIZATION"].partition(" ")
        presented = token.strip() if scheme.lower() == "bearer" else ""
    if presented is not None:
        caller = keyring.caller_of(presented)
    elif not keyring.is_empty():
        raise Unauthenticated
    elif current_app.config["REQUIRE_KEY"]:
        raise KeyRequired
    elif not _is_local(request):
        raise LocalOnly
    else:
        caller = _LOCAL_CALLER
    g.caller = caller
    if (scope := SCOPE_OF_METHOD[request.method]) not in caller.scopes:
        raise ScopeMissing(scope)
    actor.set(caller.name)
    on_behalf_of.set(_x_actor(request) if "HTTP_X_ACTOR" in headers else None)


def _x_actor(request: Request) -> str:
    """The header X-Actor: whom the caller acts for. WSGI holds its bytes as Latin-1."""
    value: str = request.environ["HTTP_X_ACTOR"]
    try:
        text = value.encode("latin-1").decode().strip()
    except UnicodeDecodeError:
        raise InvalidRequest({"X-Actor": ["Not valid UTF-8."]}) from None
    if not 0 < len(text) <= MAX_ACTOR_LENGTH or not text.isprintable():
        raise InvalidRequest({"X-Actor": [f"Not 1 to {MAX_ACTOR_LENGTH} printable characters."]})
    return text


def _is_local(request: Request) -> bool:
    """Whether the caller is a program on this machine, and no browser that a foreign page sent here.

    Such a page could give its own name this machine's address (DNS rebinding), but not change Host and Origin.
    """
    origin = request.environ.get("HTTP_ORIGIN", "http://localhost").partition("://")[2]
    return (
        request.environ.get("HTTP_SEC_FETCH_SITE") != "cross-site"
        and not any(name.startswith(_FORWARDED) for name in request.environ)
        and _is_loopback(request.remote_addr or "")
        and _is_local_name(request.host)
        and _is_local_name(origin)
    )


def _is_local_name(host: str) -> bool:
    name, _, port = host.rpartition(":")
    name = name if port.isdigit() else host
    return name == "localhost" or _is_loopback(name.strip("[]"))


def _is_loopback(address: str) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback
