"""Makes names and phone numbers comparable: the rules of search, the same on both databases."""

import re
import unicodedata
from itertools import chain, groupby

# Letters with a stroke and other letters of their own, which Unicode does not decompose into a letter and a mark.
_UNDECOMPOSED = {"ı": "i", "ł": "l", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "æ": "ae", "œ": "oe", "þ": "th"}
_POINT_CLASSES, _MIN_ACCENT_CLASS = range(10, 37), 200  # Canonical combining classes, see _is_accent.
_MAX_KEPT = 4096  # Characters that are remembered.
# Words that are parts of a phone number: digits with what people write between them, U+2010 to U+2015 being dashes and
# U+2212 the minus sign.
_PHONE_PART = re.compile(r"[+()./\-\[\]\u2010-\u2015\u22120-9]+")
_MIN_DIGITS_AFTER_00 = 5
_VARIATION_SELECTOR = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
# Names have 255 characters, but NFKD makes eighteen of some, and an index of each place in a name takes long for
# thousands.
_MAX_NAME = 1000


def normalise(text: str) -> str:
    """Fold case, remove accents and what can't be seen; letters of every script stay, digits become ASCII's.

    >>> normalise("JOSÉ Straße İzmir ٤٢")
    'jose strasse izmir 42'
    """
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return unicodedata.normalize("NFKC", decomposed.translate(_KEPT))


class _Kept(dict[int, str | None]):
    """What becomes of a character, by its code, for ``translate``."""

    def __missing__(self, code: int) -> str | None:
        each = chr(code)
        kept = None if _is_accent(each) else _UNDECOMPOSED.get(each) or str(unicodedata.decimal(each, each))
        if len(self) < _MAX_KEPT:
            self[code] = kept
        return kept


_KEPT = _Kept()


def _is_accent(character: str) -> bool:
    """Whether people leave the mark out when they type, as opposed to a mark that makes another letter.

    By canonical combining class (Unicode, UAX #44, table 15): 10 to 36 are the points of Hebrew, Arabic and Syriac,
    from 200 on the accents of Latin, Greek and Cyrillic. Below and between stand vowel signs of Indic scripts and
    Thai, and the voicing marks of Japanese: without those a word is another word.
    """
    if unicodedata.category(character) == "Cf" or _VARIATION_SELECTOR.match(character):
        return True  # Joiners, direction marks, selectors of an emoji's or an ideograph's form.
    combining_class = unicodedata.combining(character)
    return combining_class in _POINT_CLASSES or combining_class >= _MIN_ACCENT_CLASS


def searchable(
    *, name: str | None, profile_name: str | None, phone_number: str | None, username: str | None = None
) -> str:
    """Make the text that search looks into. Lines keep a term from matching across two fields."""
    lines = (
        normalise(name or "")[:_MAX_NAME],
        normalise(profile_name or "")[:_MAX_NAME],
        normalise(username or "")[:_MAX_NAME],
        phone_number or "",
    )
    return "\n".join(lines)


def alternatives(query: str) -> list[list[str]]:
    """Turn what a person typed into alternatives; a contact matches one when its text has every term of it.

    >>> alternatives("Smith JOHN")
    [['smith', 'john']]
    >>> alternatives("+1 (234) 567 smith")
    [['+1', '(234)', '567', 'smith'], ['1234567', 'smith']]
    """
    words = normalise(query).split()
    separated = [word.strip(",;") or word for word in words]
    if not any(map(_PHONE_PART.fullmatch, separated)):
        return [list(dict.fromkeys(words))] if words else []
    found = [words]
    # Neighbouring words that look like a phone number count by their digits, however these are grouped.
    runs = [list(run) for _, run in groupby(separated, lambda word: bool(_PHONE_PART.fullmatch(word)))]
    digits = [re.sub("[^0-9]", "", "".join(run)) if _PHONE_PART.fullmatch(run[0]) else "" for run in runs]
    # 00 is how many countries dial +.
    dialled = [re.sub(f"^00(?=.{{{_MIN_DIGITS_AFTER_00}}})", "", number) for number in digits]
    for numbers in (digits, dialled):
        terms = [[number] if number else run for run, number in zip(runs, numbers, strict=True)]
        found.append([*chain.from_iterable(terms)])
    distinct = [list(dict.fromkeys(terms)) for terms in found]
    return [terms for position, terms in enumerate(distinct) if terms and terms not in distinct[:position]]
