"""How cells of CSV are kept from being formulas: the rules of export and import."""

import re

# What spreadsheets take for the beginning of a formula (OWASP, "CSV Injection"), and the mark itself.
RISKY = frozenset("=+-@\t\r\n'")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")


def protect(text: str) -> str:
    """Put a mark in front of what a spreadsheet would run. E.164 numbers are harmless.

    >>> protect("=1+1"), protect("+1234567890"), protect("'t Hooft"), protect("Ann")
    ("'=1+1", '+1234567890', "''t Hooft", 'Ann')
    """
    return f"'{text}" if text[:1] in RISKY and not _E164.fullmatch(text) else text


def unprotect(text: str) -> str:
    """Take the mark off again; an apostrophe in front of anything else belongs to the text.

    >>> unprotect("'=1+1"), unprotect("''t Hooft"), unprotect("'t Hooft")
    ('=1+1', "'t Hooft", "'t Hooft")
    """
    return text[1:] if text[:1] == "'" and text[1:2] in RISKY else text
