"""Operations of the change feed."""

from typing import Any

from flask import Response, g

from contacts_service.changes import use_cases
from contacts_service.web.blueprint import Blueprint
from contacts_service.web.envelope import success
from schemas.changes import ChangePage, ChangesQuery

blueprint = Blueprint("changes", __name__, url_prefix="/api/changes", description="Keeping a copy in step.")


@blueprint.route("", methods=["GET"])
@blueprint.query(ChangesQuery)
@blueprint.answers(200, ChangePage)
@blueprint.fails("account_forbidden", "token_expired", "restore_unfinished", "unavailable")
def list_changes(query: dict[str, Any]) -> Response:
    """Read what changed

    Without `after` it begins at the beginning, with every contact that exists; `after=now` answers no items and the
    token of this moment. Apply every item, keep `next` with the copy, and ask again with it: at once while `has_more`,
    then from time to time. Asking when nothing changed costs about as much as getting one contact.

    A reader that does so misses no committed change and no deletion. Items come in the order of each contact's last
    change: a contact that changes twice may be seen once, and an item may be seen again. A change is there within a
    second of its commit, unless an older transaction is still open. Messages, assignments, tags and reads are changes
    of their contact; session data and the status of a message, which a contact doesn't show, are none.

    Deletions and merges are kept for 90 days. `token_expired` says to begin again and to drop what the new walk doesn't
    show: the token is older than that, of another `account_id`, of a key with other accounts, or of before a backup was
    restored.
    """
    return success(use_cases.list_changes(allowed_accounts=g.caller.allowed_accounts, **query))
