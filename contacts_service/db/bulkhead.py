"""A bulkhead: never all threads of a process wait for the database, so that ``/healthz`` always answers."""

import threading
from time import monotonic

from contacts_service.errors import Unavailable


class Bulkhead:
    """Slots for all threads but one. A thread without a slot waits, unless the oldest holder seems stuck."""

    def __init__(self, threads: int, patience: float) -> None:
        self._slots = max(1, threads - 1)
        self._patience = patience  # Seconds after which the holder of a slot counts as stuck.
        self._changed = threading.Condition()
        self._held_since: dict[int, float] = {}  # By thread.

    def enter(self) -> bool:
        """Take a slot; False if this thread holds one already. Raises Unavailable."""
        thread = threading.get_ident()
        if thread in self._held_since:
            return False
        with self._changed:
            while len(self._held_since) >= self._slots:
                left = min(self._held_since.values()) + self._patience - monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise Unavailable("all threads but one wait for the database already")
            self._held_since[thread] = monotonic()
        return True

    def leave(self) -> None:
        """Give this thread's slot back."""
        with self._changed:
            del self._held_since[threading.get_ident()]
            self._changed.notify()
