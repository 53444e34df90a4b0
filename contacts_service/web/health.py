"""Addresses for operators: health of the process and of the database, and metrics."""

import flask
from flask import Response, current_app, request
from prometheus_client.exposition import choose_encoder

from contacts_service.db.database import database
from contacts_service.db.migrations import require_migrated
from contacts_service.metrics import collect
from contacts_service.web.blueprint import Blueprint
from contacts_service.web.envelope import success
from schemas.envelope import Health

blueprint = Blueprint("health", __name__, description="Whether the service works.", is_open=True)
metrics_blueprint = flask.Blueprint("metrics", __name__)


@blueprint.route("/healthz", methods=["GET"])
@blueprint.answers(200, Health)
def healthz() -> Response:
    """Tell whether the process lives

    Asks nothing of the database; restart the process when this fails.
    """
    return success({"healthy": True})


@blueprint.route("/readyz", methods=["GET"])
@blueprint.answers(200, Health)
def readyz() -> Response:
    """Tell whether the service can work

    Asks the database, within `CONTACTS_DATABASE_TIMEOUT`; send no requests while this fails.
    """
    if not database.is_migrated:
        current_app.extensions["upgrade"]()
    require_migrated()
    return success({"healthy": True})


@metrics_blueprint.get("/metrics")
def metrics() -> Response:
    """Answer the metrics of all workers. It needs no key: it tells how much is done and not with what."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(collect(encode), content_type=content_type)
