"""Contacts: who a person is, and who looks after them."""
