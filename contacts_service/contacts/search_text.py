"""Makes names and phone numbers comparable: the rules of search, the same on both databases."""

import re
import unicodedata
from itertools import groupby

# Letters with a stroke and other letters of their own, which Unicode does not decompose into a letter and a mark.
_UNDECOMPOSED = str.maketrans(
    {"ı": "i", "ł": "l", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "æ": "ae", "œ": "oe", "þ": "th"}
)
_POINT_CLASSES, _MIN_ACCENT_CLASS = range(10, 37), 200  # Canonical combining classes, see _is_accent.
# Words that are parts of a phone number: digits with what people write between them, U+2010 to U+2015 being dashes.
_PHONE_PART = re.compile(r"[+().\-\[\]\u2010-\u20150-9]+")
_MIN_DIGITS_AFTER_00 = 5
# Names have 255 characters, but NFKD makes eighteen of some, and an index of each place in a name takes long for
# thousands.
_MAX_NAME = 1000


def normalise(text: str) -> str:
    """Fold case, remove accents and what can't be seen; letters of every script stay.

    >>> normalise("JOSÉ Straße İzmir")
    'jose strasse izmir'
    """
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    kept = "".join(character for character in decomposed if not _is_accent(character))
    return unicodedata.normalize("NFKC", kept.translate(_UNDECOMPOSED))


def _is_accent(character: str) -> bool:
    """Whether people leave the mark out when they type, as opposed to a mark that makes another letter.

    By canonical combining class (Unicode, UAX #44, table 15): 10 to 36 are the points of Hebrew, Arabic and Syriac,
    from 200 on the accents of Latin, Greek and Cyrillic. Below and between stand vowel signs of Indic scripts and
    Thai, and the voicing marks of Japanese: without those a word is another word.
    """
    if unicodedata.category(character) == "Cf" or "\ufe00" <= character <= "\ufe0f":
        return True  # Joiners, direction marks, emoji variation selectors.
    combining_class = unicodedata.combining(character)
    return combining_class in _POINT_CLASSES or combining_class >= _MIN_ACCENT_CLASS


def searchable(
    *, name: str | None, profile_name: str | None, phone_number: str | None, username: str | None = None
) -> str:
    """Make the text that search looks into. Lines keep a term from matching across two fields."""
    names = (normalise(each or "")[:_MAX_NAME] for each in (name, profile_name, username))
    return "\n".join([*names, phone_number or ""])


def alternatives(query: str) -> list[list[str]]:
    """Turn what a person typed into alternatives; a contact matches one when its text has every term of it.

    >>> alternatives("Smith JOHN")
    [['smith', 'john']]
    >>> alternatives("+1 (234) 567 smith")
    [['+1', '(234)', '567', 'smith'], ['1234567', 'smith']]
    """
    words = normalise(query).split()
    if not any(map(_PHONE_PART.fullmatch, words)):
        return [list(dict.fromkeys(words))] if words else []
    found = [words]
    # Neighbouring words that look like a phone number count by their digits, however these are grouped.
    runs = [list(run) for _, run in groupby(words, lambda word: bool(_PHONE_PART.fullmatch(word)))]
    digits = [re.sub("[^0-9]", "", "".join(run)) if _PHONE_PART.fullmatch(run[0]) else "" for run in runs]
    found.append([term for run, number in zip(runs, digits, strict=True) for term in ([number] if number else run)])
    # 00 is how many countries dial +.
    if len(runs) == 1 and digits[0].startswith("00") and len(digits[0]) >= len("00") + _MIN_DIGITS_AFTER_00:
        found.append([digits[0].removeprefix("00")])
    distinct = [list(dict.fromkeys(terms)) for terms in found]
    return [terms for position, terms in enumerate(distinct) if terms and terms not in distinct[:position]]
