"""Configuration of gunicorn; docs/settings.md lists the settings."""

import errno
import fcntl
import os
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from contacts_service.settings import InvalidSetting, Settings

try:
    _settings = Settings.from_environment()
except InvalidSetting as _error:
    sys.exit(f"contacts-service: {_error}")

# In memory where there is such a place: a container's disk is read-only, and any disk can stall. What is put there
# gets a name that can't be predicted.
_memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # nosec B108


def _metrics_folder():  # noqa: ANN202
    """Make the folder where workers share their metrics, and remove those of services that were killed.

    A lock on the folder, which ends with the last of the processes, tells them apart.
    """
    for left in Path(_memory or tempfile.gettempdir()).glob("contacts-service-metrics-*"):
        with suppress(OSError):  # It is another user's, or in use.
            lock = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
            finally:
                os.close(lock)
    while True:
        folder = tempfile.mkdtemp(prefix="contacts-service-metrics-", dir=_memory)
        with suppress(OSError):  # Another service that starts removed it before it was locked.
            fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_SH)
            if Path(folder).exists():
                return folder


# prometheus_client reads it while it is imported.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:  # After SIGHUP it is set already and stays in use.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = _metrics_folder()

from gunicorn.arbiter import Arbiter  # noqa: E402

from contacts_service.app import prepare  # noqa: E402
from contacts_service.metrics import merge_ended_workers  # noqa: E402
from contacts_service.web.observability import LOGGING  # noqa: E402
from contacts_service.web.server import forget_connections, refuse_when_stopped  # noqa: E402
from contacts_service.web.server_output import adapt_gunicorn  # noqa: E402

adapt_gunicorn()

bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
workers = _settings.workers
worker_class = "contacts_service.web.server.Worker"
logger_class = "contacts_service.web.server_output.Logger"
threads = _settings.threads
timeout = 30  # Seconds after which a worker that shows no sign of life is replaced.
graceful_timeout = 30  # Seconds that requests in flight have after SIGTERM.
# By default headers could say that the service stands at another address, or is called by TLS. No answer depends on it.
forwarder_headers, secure_scheme_headers = "", {}
forwarded_allow_ips = "*"  # As they have no effect, no caller's address has to be compared.
limit_request_line = 8190  # The most that gunicorn allows, for lists of ids and searches in any script.
limit_request_fields = 64
limit_request_field_size = 4096
keepalive = 75  # Longer than usual load balancers keep a connection, so that they close it and not we.
worker_tmp_dir = _memory
control_socket_disable = True
_is_for_people = _settings.log_format == "text" or (_settings.log_format == "auto" and sys.stderr.isatty())
LOGGING["handlers"]["stderr"]["formatter"] = "text" if _is_for_people else "json"
logconfig_dict = LOGGING

_hold_sigterm = partial(signal.pthread_sigmask, signal.SIG_BLOCK, {signal.SIGTERM})
_allow_sigterm = partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, {signal.SIGTERM})
_SILENCE = 30  # Seconds that a client may read nothing of its response: it holds a thread.


def on_starting(server):  # noqa: ANN001, ANN201
    """Say in one sentence why it can't start, before anything else is tried."""
    if problem := _why_not_writable() or _why_not_listening(server):
        on_exit(server)
        sys.exit(f"contacts-service: {problem}")
    # A worker that boots has the master's handler of SIGTERM, which does nothing there: the master would wait for it in
    # vain. A signal that comes while it is forked waits until the worker has none.
    os.register_at_fork(before=_hold_sigterm, after_in_parent=_allow_sigterm, after_in_child=_end_by_default)


def _end_by_default():  # noqa: ANN202
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _allow_sigterm()


def _why_not_writable():  # noqa: ANN202
    """Why SQLite can't write. A folder that isn't there may be mounted later, and is no reason not to start."""
    if not _settings.sqlite_path:
        return None
    file = Path(_settings.sqlite_path).absolute()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=file.parent).close()
        if file.exists():
            file.open("r+b").close()
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            return f"DATABASE_URL: {file} can't be written by user {os.geteuid()} ({error.strerror})."
    return None


def _why_not_listening(server):  # noqa: ANN001, ANN202
    """Why the address can't be had. gunicorn would say it ten times; as it does, wait for one that is being left."""
    if server.LISTENERS or server.master_pid or "LISTEN_FDS" in os.environ:
        return None
    deadline = time.monotonic() + 3
    for host, port in [address for address in server.address if isinstance(address, tuple)]:
        while True:
            try:
                family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
                with socket.socket(family) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(address)
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    return f"can't listen on CONTACTS_HOST {host}, PORT {port} ({error.strerror})."
                time.sleep(0.1)
    return None


def when_ready(server):  # noqa: ANN001, ANN201
    """Bound how long a client that doesn't read holds a thread. No setting does; on Linux connections inherit it."""
    refuse_when_stopped(server)
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SILENCE, 0))

    if _is_for_people:
        host, port = server.LISTENERS[0].sock.getsockname()[:2]
        reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # nosec B104
        url = f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
        sys.stderr.write(f"\n  API   {url}/api/contacts\n  docs  {url}/docs\n  data  {_settings.database_name}\n\n")


def post_worker_init(worker):  # noqa: ANN001, ANN201
    """Migrate before the worker accepts its first request. The first worker speaks for all."""
    try:
        prepare(worker.wsgi, announce=worker.age == 1)
    except InvalidSetting as error:
        if worker.age == 1:  # It ends the whole service. From two at once gunicorn would print a traceback.
            worker.log.critical("%s", error)
            sys.exit(Arbiter.WORKER_BOOT_ERROR)


def child_exit(server, worker):  # noqa: ANN001, ANN201
    """Keep what a worker counted that ended, but not its connections."""
    forget_connections(worker)
    merge_ended_workers(os.environ["PROMETHEUS_MULTIPROC_DIR"], {os.getpid(), *server.WORKERS})


def on_exit(server):  # noqa: ANN001, ANN201, ARG001
    """Remove the folder of the metrics."""
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
