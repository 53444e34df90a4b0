"""Numbers that WhatsApp writes in two ways, of which only one is dialled."""

import re

# Mexico and Argentina had a mobile prefix between country and area code; Brazil's mobile numbers got a ninth digit
# before the first, which is 6 to 9. WhatsApp's ids keep whichever form the user registered with.
_FORMS = [
    (re.compile(r"\+521?([0-9]{10})"), ("+52{0}", "+521{0}")),
    (re.compile(r"\+549?([0-9]{10})"), ("+54{0}", "+549{0}")),
    (re.compile(r"\+55([0-9]{2})9?([6-9][0-9]{7})"), ("+55{0}{1}", "+55{0}9{1}")),
]


def written_forms(phone_number: str) -> list[str]:
    """List all ways in which WhatsApp may write an E.164 number, in a fixed order; mostly it is one.

    >>> written_forms("+5511987654321")
    ['+551187654321', '+5511987654321']
    >>> written_forms("+1234567890")
    ['+1234567890']
    """
    for pattern, forms in _FORMS:
        if match := pattern.fullmatch(phone_number):
            return [form.format(*match.groups()) for form in forms]
    return [phone_number]
