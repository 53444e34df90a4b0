"""What can go wrong: each error with its HTTP status, its code and its message.

The error table of the documentation and the examples of the OpenAPI document are made from these classes.
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


class AccountForbidden(ServiceError):
    status, code = 403, "account_forbidden"
    message = "The key is limited to accounts: name one of them as account_id."


class LocalOnly(ServiceError):
    status, code = 403, "local_only"
    message = (
        "No key exists yet, so only callers on the service's own machine are answered. "
        f"{_MAKE_KEY} contacts:read, or start it with CONTACTS_FIRST_KEY."
    )


class KeyRequired(Unauthenticated):
    """No key exists while CONTACTS_REQUIRE_KEY refuses callers without one."""

    message = f"No key exists yet. {_MAKE_KEY} contacts:read, or start it with CONTACTS_FIRST_KEY."


class ScopeMissing(ServiceError):
    status, code = 403, "scope_missing"
    message = f"The key lacks the scope {{0}}. Use one that has it. {_MAKE_KEY} {{0}}."
    example = ("contacts:write",)


class ContactNotFound(ServiceError):
    status, code, message = 404, "contact_not_found", "No contact has the id {}."
    example = (CONTACT_ID,)


class FlowNotFound(ServiceError):
    status, code, message = 404, "flow_not_found", "No flow has the id {}."
    example = (FLOW_ID,)


class MergeNotFound(ServiceError):
    status, code, message = 404, "merge_not_found", "The contact {} was not merged into this contact."
    example = (OTHER_CONTACT_ID,)


class MessageNotFound(ServiceError):
    status, code, message = 404, "message_not_found", "No message has the id {}."
    example = (MESSAGE_ID,)


class EventNotFound(ServiceError):
    status, code, message = 404, "event_not_found", "The contact has no event with the id {}."
    example = (EVENT_ID,)


class SessionNotFound(ServiceError):
    status, code, message = 404, "session_not_found", "The contact has no session with the id {}."
    example = (SESSION_ID,)


class AddressNotFound(ServiceError):
    status, code, message = 404, "not_found", "There is nothing at this address."


class MethodNotAllowed(ServiceError):
    """The path exists, the method doesn't."""

    status, code = 405, "method_not_allowed"
    message = "This address does not know the method; Allow names those that it knows."


class NotAcceptable(ServiceError):
    status, code, message = 406, "not_acceptable", "The answer is {}, which Accept excludes."
    example = ("application/json",)


class ContactExists(ServiceError):
    status, code = 409, "contact_exists"
    message = "A contact of this account already has one of these identifiers."
    example_errors = {"id": [CONTACT_ID]}


class IdentityConflict(ServiceError):
    status, code, message = 409, "identity_conflict", "The identifiers belong to different contacts."
    example_errors = {"id": [CONTACT_ID, OTHER_CONTACT_ID]}


class ContactUnidentified(ServiceError):
    status, code, message = 409, "contact_unidentified", "A contact needs a phone_number or a bsuid."


class AccountMismatch(ServiceError):
    status, code, message = 409, "account_mismatch", "The contacts belong to different accounts."


class MergeFinal(ServiceError):
    """A merge that can't be undone: too old, or its survivor was merged into another contact."""

    status, code, message = 409, "merge_final", "A merge can be undone for 30 days."


class RetryInProgress(ServiceError):
    status, code, message = 409, "retry_in_progress", "The first request with this Idempotency-Key still runs."
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}


class ContactMerged(ServiceError):
    """The contact has ended: it was merged into another one, the survivor."""

    status, code = 410, "contact_merged"
    message = "The contact {} was merged into {}."
    example = (OTHER_CONTACT_ID, CONTACT_ID)
    example_errors = {"id": [CONTACT_ID]}

    def __init__(self, contact_id: str, survivor_id: str) -> None:
        super().__init__(contact_id, survivor_id, errors={"id": [survivor_id]})
        self.headers = {"Link": f'</api/contacts/{survivor_id}>; rel="successor-version"'}


class TotalChanged(ServiceError):
    status, code, message = 409, "total_changed", "The filter matches another number of contacts than expected_total."
    example_errors = {"total": ["12"]}


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


class TokenExpired(ServiceError):
    """The changes since a token can't be told any more."""

    status, code = 410, "token_expired"
    message = "This token leads no further: read the changes again from the beginning."


class PayloadTooLarge(ServiceError):
    status, code, message = 413, "payload_too_large", "The body is larger than {}."
    example = (MAX_BODY,)


class DocumentTooLarge(PayloadTooLarge):
    """A merge would make a document larger than a request may bring."""

    message = f"Merged, this would be larger than {MAX_BODY} of JSON."


class UriTooLong(ServiceError):
    status, code, message = 414, "uri_too_long", "The address with its query is longer than 8,190 bytes."


class UnsupportedMediaType(ServiceError):
    status, code, message = 415, "unsupported_media_type", "Send the body as application/json."


class IdempotencyKeyReused(ServiceError):
    status, code, message = 422, "idempotency_key_reused", "Another request was made with this Idempotency-Key."


class InternalError(ServiceError):
    """A bug. The log has the traceback under the request id."""

    status, code = 500, "internal_error"
    message = "Something went wrong on our side. The request id finds it in our log."


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


class TooManyStreams(ServiceError):
    """As many imports and exports run as may: each holds a thread, and others are needed too."""

    status, code, message = 503, "too_many_streams", "Other imports or exports run. Try again later."
    headers = {"Retry-After": "10"}


class RestoreUnfinished(ServiceError):
    """The change feed can't be read: transaction ids began again, so that changes would be missed."""

    status, code = 503, "restore_unfinished"
    message = "A backup was restored: run flask --app wsgi db restored."
    headers = {"Retry-After": "60"}


def documented_errors(status: int | None = None) -> Iterator[type[ServiceError]]:
    """All errors by status, or those of one status, each code once."""
    for error in sorted(ServiceError.__subclasses__(), key=lambda error: error.status):
        if status in {None, error.status}:
            yield error
