"""Who makes the changes of the current request or command; stored with what it changes."""

from contextvars import ContextVar

actor: ContextVar[str | None] = ContextVar("actor", default=None)
"""The name of the caller's key; None for a caller without key and for commands."""
on_behalf_of: ContextVar[str | None] = ContextVar("on_behalf_of", default=None)
"""Whom the caller acts for, as it says: a person, for example."""
