"""Headers that tell a browser what not to do with an answer."""

import base64
import hashlib
import re
from collections.abc import Iterable
from typing import Any

from flask import Flask, Response, request

_POLICY = "Content-Security-Policy"
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_EVERYWHERE = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
_OF_DATA = [
    *_EVERYWHERE,
    # Answers hold no page, so nothing in them may be run, shown in a frame or loaded.
    (_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    # A cache between may keep it for the caller alone, and has to ask whether it still holds.
    ("Cache-Control", "private, no-cache"),
]


def secure_answers(app: Flask) -> None:
    """Add the headers to every answer. Around Flask, which would check them anew each time."""
    answer = app.wsgi_app

    def secured(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            is_page = any(name == _POLICY for name, _ in headers)
            return start_response(status, headers + (_EVERYWHERE if is_page else _OF_DATA), exc_info)

        return answer(environ, start)

    app.wsgi_app = secured  # type: ignore[method-assign]


def allow_page(response: Response) -> Response:
    """Allow a page of the documentation what it needs."""
    if request.path.startswith("/docs"):
        response.headers[_POLICY] = _policy_of(response)
    return response


def _policy_of(page: Response) -> str:
    """Allow the documentation its own files and the very script that it holds. Swagger UI styles its elements."""
    scripts = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
        for script in (_INLINE_SCRIPT.findall(page.get_data()) if page.mimetype == "text/html" else ())
    ]
    return (
        f"default-src 'none'; script-src 'self' {' '.join(scripts)}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
