"""How names and phone numbers are made comparable: the rules of search, the same for every database."""

import re
import unicodedata

# Letters with a stroke and other letters of their own, which Unicode does not decompose into a letter and a mark.
_UNDECOMPOSED = str.maketrans(
    {"ı": "i", "ł": "l", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "æ": "ae", "œ": "oe", "þ": "th"}
)
_POINTS, _FIRST_ACCENT = range(10, 37), 200  # Canonical combining classes, see _is_accent.
_PHONE_LIKE = re.compile(r"[\s+().\-\[\]0-9]*[0-9][\s+().\-\[\]0-9]*")


def normalise(text: str) -> str:
    """Fold case, remove accents and what can't be seen; letters of every script stay.

    >>> normalise("JOSÉ Straße İzmir")
    'jose strasse izmir'
    """
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    kept = "".join(character for character in decomposed if not _is_accent(character))
    return unicodedata.normalize("NFKC", kept.translate(_UNDECOMPOSED))


def _is_accent(character: str) -> bool:
    """Tell marks that people leave out when they type from marks that make another letter.

    By canonical combining class (Unicode, UAX #44, table 15): 10 to 36 are the points of Hebrew, Arabic and Syriac,
    from 200 on the accents of Latin, Greek and Cyrillic. Below and between stand vowel signs of Indic scripts and
    Thai, and the voicing marks of Japanese: without those a word is another word.
    """
    if unicodedata.category(character) == "Cf" or "\ufe00" <= character <= "\ufe0f":
        return True  # Joiners, direction marks, emoji variation selectors.
    combining_class = unicodedata.combining(character)
    return combining_class in _POINTS or combining_class >= _FIRST_ACCENT


def searchable(*, name: str | None, profile_name: str | None, phone_number: str | None) -> str:
    """Make the text that search looks into. Lines keep a term from matching across two fields."""
    return "\n".join([normalise(name or ""), normalise(profile_name or ""), phone_number or ""])


def alternatives(query: str) -> list[list[str]]:
    """Turn what a person typed into alternatives; a contact matches one when its text has every term of it.

    >>> alternatives("Smith JOHN")
    [['smith', 'john']]
    >>> alternatives("+1 (234) 567")
    [['+1', '(234)', '567'], ['1234567']]
    """
    normalised = normalise(query)
    found = [words] if (words := list(dict.fromkeys(normalised.split()))) else []
    if _PHONE_LIKE.fullmatch(normalised):
        digits = re.sub("[^0-9]", "", normalised)
        found += [[digits]]
        # 00 is how many countries dial +.
        if digits.startswith("00") and len(digits) > len("00"):
            found += [[digits[2:]]]
    return [terms for position, terms in enumerate(found) if terms not in found[:position]]
