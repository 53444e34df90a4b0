"""Addresses for whoever runs the service."""

from flask import Response

from contacts_service.api.blueprint import Blueprint
from contacts_service.api.envelope import success
from contacts_service.services import schema
from schemas.health import Health

blueprint = Blueprint("health", __name__, description="Whether the service works.", is_open=True)


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
    schema.check()
    return success({"healthy": True})
