"""What Prometheus is told. Under gunicorn the workers share their values by files, see gunicorn.conf.py."""

from prometheus_client import Counter, Gauge, Histogram

# Seconds. A request that finds its rows in memory takes about one millisecond.
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

REQUESTS = Counter("contacts_http_requests_total", "Requests answered.", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "contacts_http_request_duration_seconds",
    "From the parsed request to its answer.",
    ["method", "route"],
    buckets=_BUCKETS,
)
ERRORS = Counter("contacts_errors_total", "Errors answered, by the code in their envelope.", ["code"])
DATABASE_SECONDS = Histogram(
    "contacts_database_duration_seconds",
    "A use case with its connection: connecting, waiting for locks, queries and commit.",
    ["access"],
    buckets=_BUCKETS,
)
DATABASE_FAULTS = Counter("contacts_database_faults_total", "Use cases that the database could not serve.")
OPEN_CONNECTIONS = Gauge(
    "contacts_database_connections_open", "Connections to the database.", multiprocess_mode="livesum"
)
BUSY_CONNECTIONS = Gauge(
    "contacts_database_connections_busy", "Connections that a use case holds.", multiprocess_mode="livesum"
)
CHANGES_HELD_SECONDS = Gauge(
    "contacts_changes_held_seconds",
    "Age of the oldest change that the change feed holds back, as an older transaction was open when it was last read.",
    multiprocess_mode="mostrecent",
)
