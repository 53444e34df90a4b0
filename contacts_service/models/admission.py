"""Who may wait for the database: never all threads of a process, or it couldn't even say that it lives."""

import threading
from time import monotonic

from contacts_service.errors import Unavailable


class Admission:
    """Places for all threads but one. Who finds none waits, but not behind somebody who is stuck."""

    def __init__(self, threads: int, patience: float) -> None:
        self._places = max(1, threads - 1)
        self._patience = patience  # Seconds that a use case may hold its place before it counts as stuck.
        self._changed = threading.Condition()
        self._since: dict[int, float] = {}

    def enter(self) -> bool:
        """Take a place; False when this thread has one already. Raises Unavailable."""
        me = threading.get_ident()
        if me in self._since:
            return False
        with self._changed:
            while len(self._since) >= self._places:
                left = min(self._since.values()) + self._patience - monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise Unavailable(TimeoutError("all threads but one wait for the database already"))
            self._since[me] = monotonic()
        return True

    def leave(self) -> None:
        """Give the place back."""
        with self._changed:
            del self._since[threading.get_ident()]
            self._changed.notify()
