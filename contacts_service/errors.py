"""What can go wrong: each error with its HTTP status, its code and its message.

The error table of the documentation and the examples of the OpenAPI document are made from these classes, of which
those of one status stand in the order in which they are documented.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from contacts_service.settings import MAX_BODY_BYTES
from schemas.examples import CONTACT_ID, EVENT_ID, FLOW_ID, MESSAGE_ID, OTHER_CONTACT_ID, SESSION_ID

RETRY_AFTER_SECONDS = 1
_MAKE_KEY = "Make one where the service runs: flask --app wsgi keys create NAME --scope"
MAX_BODY = f"{MAX_BODY_BYTES // 1024**2} MiB"


class ServiceError(Exception):
    """An error that a caller is told about.

    ``named`` is what the braces of its message stand for, as ``example`` is in the OpenAPI document; ``errors`` holds
    texts by field. What belongs to an account that the caller may not see is not found.
    """

    status: ClassVar[int]
    code: ClassVar[str]
    message: ClassVar[str]
    example: ClassVar[tuple[str, ...]] = ()
    example_errors: ClassVar[dict[str, list[str]] | None] = None
    headers: Mapping[str, str] = {}

    def __init__(self, *named: str, message: str | None = None, errors: dict[str, list[str]] | None = None) -> None:
        super().__init__(message or self.message.format(*named))
        self.errors = errors

    @classmethod
    def example_message(cls) -> str:
        return cls.message.format(*cls.example)


class InvalidRequest(ServiceError):
    """The request breaks the contract; ``errors`` says which field and why."""

    status, code, message = 400, "invalid_request", "The request is not valid: see errors."
    example_errors = {"phone_number": ["Missing data for required field."]}

    def __init__(self, errors: dict[str, list[str]]) -> None:
        super().__init__(errors=errors)


class Unauthenticated(ServiceError):
    """No key, or one that is unknown, revoked or expired. The caller isn't told which."""

    status, code = 401, "unauthenticated"
    message = "Send a valid key as X-API-Key, or as Authorization: Bearer."
    headers = {"WWW-Authenticate": "Bearer"}


class KeyRequired(Unauthenticated):
    """No key exists while CONTACTS_REQUIRE_KEY refuses callers without one."""

    message = f"No key exists yet. {_MAKE_KEY} contacts:read, or start it with CONTACTS_FIRST_KEY."


class ContactMerged(ServiceError):
    """The contact has ended: it was merged into another one, the survivor."""

    status, code = 410, "contact_merged"
    message = "The contact {} was merged into {}."
    example = (OTHER_CONTACT_ID, CONTACT_ID)
    example_errors = {"id": [CONTACT_ID]}

    def __init__(self, contact_id: str, survivor_id: str) -> None:
        super().__init__(contact_id, survivor_id, errors={"id": [survivor_id]})
        self.headers = {"Link": f'</api/contacts/{survivor_id}>; rel="successor-version"'}


class VersionMismatch(ServiceError):
    """The entity changed since the caller read it.

    ``current`` is the entity as it is now and ``etag`` its entity tag; both None if it doesn't exist. ``lock`` locks
    it, or returns None if it was deleted meanwhile.
    """

    status, code, message = 412, "version_mismatch", "The current version is not the one in the request."

    def __init__(
        self, current: dict[str, Any] | None, etag: str | None, lock: Callable[[], Any] = lambda: True
    ) -> None:
        super().__init__()
        self.current, self.etag, self.lock = current, etag, lock


class PayloadTooLarge(ServiceError):
    status, code, message = 413, "payload_too_large", "The body is larger than {}."
    example = (MAX_BODY,)


class DocumentTooLarge(PayloadTooLarge):
    """A merge would make a document larger than a request may bring."""

    message = f"Merged, this would be larger than {MAX_BODY} of JSON."


class Unavailable(ServiceError):
    """The database can't be reached, is too busy or can't write; ``details`` is for the log alone."""

    status, code, message = 503, "unavailable", "The database can't answer at the moment. Try again."
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}

    def __init__(self, details: str = "other writers came first each time", message: str | None = None) -> None:
        super().__init__(message=message)
        self.details = details


class NoTemporarySpace(Unavailable):
    """A temporary file can't be written: there is no folder for it, or it is full."""

    message = "The service has no room for temporary files."


def _error(
    status: int,
    code: str,
    message: str,
    *example: str,
    errors: dict[str, list[str]] | None = None,
    retry_after: int | None = None,
) -> type[ServiceError]:
    """Make the class of an error that has nothing of its own to do."""
    headers = {"Retry-After": str(retry_after)} if retry_after else {}
    values = {"status": status, "code": code, "message": message, "example": example, "example_errors": errors}
    return type(code.title().replace("_", ""), (ServiceError,), {**values, "headers": headers})


AccountForbidden = _error(403, "account_forbidden", "The key is limited to accounts: name one of them as account_id.")
LocalOnly = _error(
    403,
    "local_only",
    "No key exists yet, so only callers on the service's own machine are answered. "
    f"{_MAKE_KEY} contacts:read, or start it with CONTACTS_FIRST_KEY.",
)
ScopeMissing = _error(
    403, "scope_missing", f"The key lacks the scope {{0}}. Use one that has it. {_MAKE_KEY} {{0}}.", "contacts:write"
)
ContactNotFound = _error(404, "contact_not_found", "No contact has the id {}.", CONTACT_ID)
FlowNotFound = _error(404, "flow_not_found", "No flow has the id {}.", FLOW_ID)
MergeNotFound = _error(404, "merge_not_found", "The contact {} was not merged into this contact.", OTHER_CONTACT_ID)
MessageNotFound = _error(404, "message_not_found", "No message has the id {}.", MESSAGE_ID)
EventNotFound = _error(404, "event_not_found", "The contact has no event with the id {}.", EVENT_ID)
SessionNotFound = _error(404, "session_not_found", "The contact has no session with the id {}.", SESSION_ID)
AddressNotFound = _error(404, "not_found", "There is nothing at this address.")
MethodNotAllowed = _error(
    405, "method_not_allowed", "This address does not know the method; Allow names those that it knows."
)
NotAcceptable = _error(406, "not_acceptable", "The answer is {}, which Accept excludes.", "application/json")
ContactExists = _error(
    409,
    "contact_exists",
    "A contact of this account already has one of these identifiers.",
    errors={"id": [CONTACT_ID]},
)
IdentityConflict = _error(
    409,
    "identity_conflict",
    "The identifiers belong to different contacts.",
    errors={"id": [CONTACT_ID, OTHER_CONTACT_ID]},
)
ContactUnidentified = _error(409, "contact_unidentified", "A contact needs a phone_number or a bsuid.")
AccountMismatch = _error(409, "account_mismatch", "The contacts belong to different accounts.")
# Too old, or its survivor was merged into another contact.
MergeFinal = _error(409, "merge_final", "A merge can be undone for 30 days.")
RetryInProgress = _error(
    409, "retry_in_progress", "The first request with this Idempotency-Key still runs.", retry_after=RETRY_AFTER_SECONDS
)
TotalChanged = _error(
    409, "total_changed", "The filter matches another number of contacts than expected_total.", errors={"total": ["12"]}
)
TokenExpired = _error(410, "token_expired", "This token leads no further: read the changes again from the beginning.")
UriTooLong = _error(414, "uri_too_long", "The address with its query is longer than 8,190 bytes.")
UnsupportedMediaType = _error(415, "unsupported_media_type", "Send the body as application/json.")
IdempotencyKeyReused = _error(422, "idempotency_key_reused", "Another request was made with this Idempotency-Key.")
# A bug. The log has the traceback under the request id.
InternalError = _error(500, "internal_error", "Something went wrong on our side. The request id finds it in our log.")
# As many imports and exports run as may: each holds a thread, and others are needed too.
TooManyStreams = _error(503, "too_many_streams", "Other imports or exports run. Try again later.", retry_after=10)
# Transaction ids began again, so that changes would be missed.
RestoreUnfinished = _error(
    503, "restore_unfinished", "A backup was restored: run flask --app wsgi db restored.", retry_after=60
)


def documented_errors(status: int | None = None) -> Iterator[type[ServiceError]]:
    """All errors by status, or those of one status, each code once."""
    for error in sorted(ServiceError.__subclasses__(), key=lambda error: error.status):
        if status in {None, error.status}:
            yield error
