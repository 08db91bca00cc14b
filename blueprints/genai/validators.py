"""Validators of JSON schemas that reckon with decimals, as a schema and decoding mean them."""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from jsonschema import ValidationError
from jsonschema.validators import extend, validator_for
from records import Json


def validator(schema: Json, formats: bool = False) -> Any:
    """What judges records by this schema; with `formats` also those of their texts."""
    kind = extend(validator_for(schema), {"multipleOf": multiple})
    own = {key: part for key, part in schema.items() if key != "$schema"}  # would change the kind
    return kind(own, format_checker=kind.FORMAT_CHECKER if formats else None)


def multiple(judge: Any, step: float, found: Any, _: Json) -> Iterator[ValidationError]:
    """0.07 is a multiple of 0.01, though not as binary fractions."""
    if not judge.is_type(found, "number"):
        return
    endless = isinstance(found, float) and not math.isfinite(found)
    if endless or decimal(found) % decimal(step):
        yield ValidationError(f"{found!r} is not a multiple of {step}")


def decimal(number: float) -> Fraction:
    """The number that was written."""
    return Fraction(number if isinstance(number, int) else repr(number))
