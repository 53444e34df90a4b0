"""How gunicorn serves the service; README.md lists the settings."""

import os
import shutil
import socket
import struct
import tempfile
from pathlib import Path

# In memory where there is such a place: a container's disk is read-only, and any disk can stall. What is put there
# gets a name that nobody can foresee.
_memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # nosec B108
# Where the workers' metrics meet. prometheus_client looks for it while it is imported.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:  # On SIGHUP it is there already, and goes on being counted in.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="contacts-metrics-", dir=_memory)

from prometheus_client import multiprocess  # noqa: E402

from contacts_service.api.request_log import LOGGING  # noqa: E402
from contacts_service.api.server import keep_gunicorn_in_the_envelope, refuse_when_stopped  # noqa: E402
from contacts_service.app import prepare  # noqa: E402
from contacts_service.settings import Settings  # noqa: E402

_settings = Settings.from_environment()
keep_gunicorn_in_the_envelope()

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.workers
worker_class = "contacts_service.api.server.Worker"
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

_SILENCE = 30  # Seconds that a client may send or read nothing in the middle of a request: it holds a thread.


def when_ready(server):  # noqa: ANN001, ANN201
    """Let no client hold a thread by silence. gunicorn has no setting for it; connections inherit it on Linux."""
    refuse_when_stopped(server)
    for listener in server.LISTENERS:
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            listener.sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", _SILENCE, 0))


def post_worker_init(worker):  # noqa: ANN001, ANN201
    """Migrate before the worker accepts its first request."""
    prepare(worker.wsgi)


def child_exit(server, worker):  # noqa: ANN001, ANN201, ARG001
    """Take a worker that ended out of what is counted of those that live."""
    multiprocess.mark_process_dead(worker.pid)


def on_exit(server):  # noqa: ANN001, ANN201, ARG001
    """Remove the folder of the metrics."""
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
