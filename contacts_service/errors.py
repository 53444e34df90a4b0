"""What can go wrong, in the domain's words. The HTTP layer gives each its status and code."""

from typing import Any


class ServiceError(Exception):
    """Anything that a caller is told about."""


class NotFound(ServiceError):
    """Nothing has this id, or nothing any more."""

    def __init__(self, noun: str, entity_id: str) -> None:
        super().__init__(f"No {noun} has the id {entity_id}.")
        self.noun = noun


class ContactExists(ServiceError):
    """Another contact of the account has the phone number or the bsuid already."""

    def __init__(self, existing_id: str) -> None:
        super().__init__("A contact of this account already has this phone number or bsuid.")
        self.existing_id = existing_id


class IdentityConflict(ServiceError):
    """Identifiers that should be one contact's belong to two."""

    def __init__(self, contact_ids: list[str]) -> None:
        super().__init__("The identifiers belong to different contacts.")
        self.contact_ids = contact_ids


class Unauthenticated(ServiceError):
    """No key, or one that is unknown, revoked or expired. Which of these is nobody's business."""

    def __init__(self) -> None:
        super().__init__("Send a valid key as X-API-Key, or as Authorization: Bearer.")


class LocalOnly(ServiceError):
    """A caller from elsewhere, while no key exists."""

    def __init__(self) -> None:
        super().__init__("No key exists yet, so only callers on the service's own machine are answered.")


class ScopeMissing(ServiceError):
    """A key that isn't for this kind of operation."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"The key lacks the scope {scope}.")


class AccountForbidden(ServiceError):
    """A key that is limited to accounts, and a request that names another, or none."""

    def __init__(self) -> None:
        super().__init__("The key is limited to accounts: name one of them as account_id.")


class VersionMismatch(ServiceError):
    """Somebody changed it since the caller read it. ``current`` is what it is now, None when it is gone."""

    def __init__(self, current: dict[str, Any] | None) -> None:
        super().__init__("The current version is not the one in the request.")
        self.current = current


class RetryInProgress(ServiceError):
    """A first try with this Idempotency-Key still runs."""

    def __init__(self) -> None:
        super().__init__("The first request with this Idempotency-Key still runs.")


class IdempotencyKeyReused(ServiceError):
    """An Idempotency-Key under which another request was made."""

    def __init__(self) -> None:
        super().__init__("Another request was made with this Idempotency-Key.")


class Unidentified(ServiceError):
    """A contact would be left without phone number and without bsuid."""

    def __init__(self) -> None:
        super().__init__("A contact needs a phone_number or a bsuid.")


class InvalidCursor(ServiceError):
    """A cursor that this service didn't give out for this list."""

    def __init__(self) -> None:
        super().__init__("Not a cursor of this list with these filters and this sort.")


class TooLarge(ServiceError):
    """A document would grow beyond what is kept."""

    def __init__(self) -> None:
        super().__init__("Merged, this would be larger than 1 MiB of JSON.")


class Unavailable(ServiceError):
    """The database can't be reached, is too busy, or can't write."""

    def __init__(self, fault: BaseException | None = None) -> None:
        super().__init__("The database can't answer at the moment. Try again.")
        self.fault = fault
