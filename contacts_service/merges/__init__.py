"""Merges: contacts that became one, and how to undo it."""
