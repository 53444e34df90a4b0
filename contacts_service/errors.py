"""What can go wrong, in the domain's words. The HTTP layer gives each its status and code."""


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
