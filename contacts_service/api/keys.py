"""Who calls: a key in a header, or while no key exists anybody on the same machine."""

from ipaddress import ip_address

from flask import Request, current_app, request

from contacts_service.api.request_log import seen
from contacts_service.errors import LocalOnly, Unauthenticated
from contacts_service.models.accounts import Accounts
from contacts_service.services.access import LOCAL_CALLER, Caller
from contacts_service.services.keys import Keyring

# The scope that a method needs.
SCOPES = {
    "GET": "contacts:read",
    "HEAD": "contacts:read",
    "POST": "contacts:write",
    "PUT": "contacts:write",
    "PATCH": "contacts:write",
    "DELETE": "contacts:delete",
}
SECURITY_SCHEMES = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
}
# By which a proxy tells that it speaks for somebody else.
_FORWARDED = (
    "HTTP_X_FORWARDED_",
    "HTTP_FORWARDED",
    "HTTP_X_REAL_IP",
    "HTTP_X_CLIENT_IP",
    "HTTP_TRUE_CLIENT_IP",
    "HTTP_CF_",
    "HTTP_VIA",
)


def authenticate(request: Request) -> None:
    """Find out who calls, before anything of the request is looked at.

    Raises Unauthenticated, LocalOnly, ScopeMissing, Unavailable.
    """
    seen(request).caller = caller = _caller(request, current_app.extensions["keyring"])
    caller.require(SCOPES[request.method])


def caller() -> Caller:
    """Return who calls; only operations that ask for a key know."""
    found = seen(request).caller
    if found is None:
        raise RuntimeError("nobody was asked for a key")
    return found


def accounts() -> Accounts:
    """Return the accounts that the caller is limited to, None for no limit."""
    return caller().accounts


def _caller(request: Request, keyring: Keyring) -> Caller:
    if (presented := _presented(request)) is not None:
        return keyring.caller_of(presented)
    if not keyring.is_empty():
        raise Unauthenticated
    if not _is_local(request):
        raise LocalOnly
    return LOCAL_CALLER


def _presented(request: Request) -> str | None:
    """Read the key that was sent; None when the request brings no credentials of any kind."""
    headers = request.environ
    if "HTTP_X_API_KEY" in headers:
        return str(headers["HTTP_X_API_KEY"])
    if "HTTP_AUTHORIZATION" not in headers:
        return None
    scheme, _, token = headers["HTTP_AUTHORIZATION"].partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _is_local(request: Request) -> bool:
    """Tell whether the caller is on this machine, and no browser that a page from elsewhere sent here.

    Such a page could give its own name this machine's address (DNS rebinding), but not change Host and Origin.
    """
    origin = request.environ.get("HTTP_ORIGIN", "http://localhost").partition("://")[2]
    return (
        not any(name.startswith(_FORWARDED) for name in request.environ)
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
