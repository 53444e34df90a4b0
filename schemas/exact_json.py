"""JSON whose numbers stay as they are spelled: integers of any size, and more digits than a double holds."""

import json
from functools import partial
from typing import Any

import orjson

_MAX_DIGITS = 18  # Of integers that fit into 64 bits in any case.


class ExactFloat(float):
    """A number with a fraction or an exponent."""

    def __init__(self, digits: str) -> None:
        self.digits = digits


class ExactInt(int):
    """An integer that may not fit into 64 bits."""


def parse_int(digits: str) -> int:
    return int(digits) if len(digits) <= _MAX_DIGITS else ExactInt(digits)


def _spelled(value: Any) -> orjson.Fragment:
    if isinstance(value, ExactFloat):
        return orjson.Fragment(value.digits)
    if isinstance(value, ExactInt):
        return orjson.Fragment(str(value))
    raise TypeError(type(value).__name__)


loads = json.JSONDecoder(parse_float=ExactFloat, parse_int=parse_int).decode
dumps = partial(orjson.dumps, default=_spelled, option=orjson.OPT_PASSTHROUGH_SUBCLASS)
"""Writes compact JSON as bytes."""
