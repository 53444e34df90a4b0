"""Headers that tell a browser what not to do with an answer."""

import base64
import hashlib
import re

from flask import Flask, Response, request

_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Answers hold no page, so nothing in them may be run, shown in a frame or loaded.
_NO_PAGE = "default-src 'none'; frame-ancestors 'none'"


def secure_answers(app: Flask) -> None:
    """Add the headers to every answer."""
    app.after_request(_secure)


def _secure(response: Response) -> Response:
    response.headers.update(_EVERYWHERE)
    policy = _policy_of(response) if response.mimetype == "text/html" else _NO_PAGE
    response.headers["Content-Security-Policy"] = policy
    if request.path.startswith("/api/"):
        # A cache between may keep it for the caller alone, and has to ask whether it still holds.
        response.headers["Cache-Control"] = "private, no-cache"
    return response


def _policy_of(page: Response) -> str:
    """Allow the documentation its own files and the very script that it holds. Swagger UI styles its elements."""
    scripts = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
        for script in _INLINE_SCRIPT.findall(page.get_data())
    ]
    return (
        f"default-src 'none'; script-src 'self' {' '.join(scripts)}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
