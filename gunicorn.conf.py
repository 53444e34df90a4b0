"""Configuration of gunicorn; README.md lists the settings."""

import os
import shutil
import socket
import struct
import tempfile
from pathlib import Path

# In memory where there is such a place: a container's disk is read-only, and any disk can stall. What is put there
# gets a name that can't be predicted.
_memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # nosec B108
# Where workers share their metrics. prometheus_client reads it while it is imported.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:  # After SIGHUP it is set already and stays in use.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="contacts-metrics-", dir=_memory)

from prometheus_client import multiprocess  # noqa: E402

from contacts_service.app import prepare  # noqa: E402
from contacts_service.settings import Settings  # noqa: E402
from contacts_service.web.observability import LOGGING  # noqa: E402
from contacts_service.web.server import keep_gunicorn_in_the_envelope, refuse_when_stopped  # noqa: E402

_settings = Settings.from_environment()
keep_gunicorn_in_the_envelope()

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.workers
worker_class = "contacts_service.web.server.Worker"
threads = _settings.threads
timeout = 30  # Seconds after which a worker that shows no sign of life is replaced.
graceful_timeout = 30  # Seconds that requests in flight have after SIGTERM.
forwarder_headers = ""  # By default a header could say that the service stands at another address.
limit_request_line = 8190  # The most that gunicorn allows, for lists of ids and searches in any script.
limit_request_fields = 64
limit_request_field_size = 4096
keepalive = 75  # Longer than usual load balancers keep a connection, so that they close it and not we.
worker_tmp_dir = _memory
control_socket_disable = True
logconfig_dict = LOGGING

_SILENCE = 30  # Seconds that a client may read nothing of its response: it holds a thread.


def when_ready(server):  # noqa: ANN001, ANN201
    """Bound how long a client that doesn't read holds a thread. No setting does; on Linux connections inherit it."""
    refuse_when_stopped(server)
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SILENCE, 0))


def post_worker_init(worker):  # noqa: ANN001, ANN201
    """Migrate before the worker accepts its first request."""
    prepare(worker.wsgi)


def child_exit(server, worker):  # noqa: ANN001, ANN201, ARG001
    """Drop a dead worker's gauges."""
    multiprocess.mark_process_dead(worker.pid)


def on_exit(server):  # noqa: ANN001, ANN201, ARG001
    """Remove the folder of the metrics."""
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
