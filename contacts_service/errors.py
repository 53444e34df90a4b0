"""What can go wrong, in the domain's words. The HTTP layer gives each its status and code."""


class ServiceError(Exception):
    """Anything that a caller is told about."""


class NotFound(ServiceError):
    """Nothing has this id, or nothing any more."""

    def __init__(self, noun: str, entity_id: str) -> None:
        super().__init__(f"No {noun} has the id {entity_id}.")
        self.noun = noun


class NoSession(ServiceError):
    """The contact has no session that could be meant."""

    def __init__(self) -> None:
        super().__init__("The contact has no active or completed session; start one with PUT.")


class ContactExists(ServiceError):
    """Another contact of the account has the phone number already."""

    def __init__(self, existing_id: str) -> None:
        super().__init__("A contact of this account already has this phone number.")
        self.existing_id = existing_id


class Unavailable(ServiceError):
    """The database can't be reached, is too busy, or can't write."""

    def __init__(self) -> None:
        super().__init__("The database can't answer at the moment. Try again.")
