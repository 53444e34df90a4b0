"""How gunicorn serves the service; README.md lists the settings."""

import logging
from pathlib import Path

from contacts_service.api.server import keep_gunicorn_in_the_envelope
from contacts_service.app import prepare
from contacts_service.settings import Settings

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

_settings = Settings.from_environment()
keep_gunicorn_in_the_envelope()

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.workers
worker_class = "gthread"
threads = _settings.threads
timeout = 30  # Seconds after which a worker that shows no sign of life is replaced.
graceful_timeout = 30  # Seconds that requests in flight have after SIGTERM.
forwarder_headers = ""  # By default a header could say that the service stands at another address.
limit_request_line = 8190  # The most that gunicorn allows, for lists of ids and searches in any script.
keepalive = 75  # Longer than usual load balancers keep a connection, so that they close it and not we.
# Heartbeats on a disk could stall, and a container's is read-only besides; not every system has memory there.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
control_socket_disable = True


def post_worker_init(worker):  # noqa: ANN001, ANN201
    """Migrate before the worker accepts its first request."""
    prepare(worker.wsgi)
