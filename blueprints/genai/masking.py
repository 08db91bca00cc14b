"""Personal data in texts, found by patterns, so names are not seen.

The one way to mask them, in training and service; needs no library.
"""

import re
from collections import Counter

FOURS, AMEX = r"\d{4}([ -]?)(?:\d{4}\1){2}\d{4}", r"3\d{3}([ -]?)\d{6}\2\d{5}"
BYTE = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
PERSONAL = {
    "email": r"(?<![\w.+-])[\w.+-]++@[\w-]++\.[\w.-]*\w",
    "phone": r"(?<![\d-])(?<!\d[.,])(?:\+\d{1,3}[ .-]?)?\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\d-])",
    "social security number": r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])",
    "card number": rf"(?<![\d-])(?:{FOURS}|{AMEX})(?![\d-])",
    "IBAN": r"\b[A-Z]{2}\d{2} ?[A-Z0-9]{4}(?: ?(?=[A-Z]*\d)[A-Z0-9]{4}){1,6}(?: ?\d{1,3})?\b",
    "IP address": rf"(?<![\d.])(?:{BYTE}\.){{3}}{BYTE}(?!\.?\d)",
}


def personal(text: str) -> Counter[str]:
    """How often each kind of personal data seems to occur; patterns only, so names are not seen."""
    found: Counter[str] = Counter()
    for kind, pattern in PERSONAL.items():
        found[kind] = sum(likely(kind, match[0]) for match in re.finditer(pattern, text))
    return +found


def masked(text: str) -> str:
    """The text with each kind of personal data replaced by its name in brackets."""
    for kind, pattern in PERSONAL.items():
        text = re.sub(pattern, lambda m, k=kind: f"[{k}]" if likely(k, m[0]) else m[0], text)
    return text


def likely(kind: str, found: str) -> bool:
    """Four years in a row look like a card's number, whose last digit is the sum of the others."""
    if kind != "card number":
        return True
    digits = [int(c) for c in reversed(found) if c.isdecimal()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
