"""Personal data without false alarms, found once, masked whole, by what needs no library."""

import sys
import time
from pathlib import Path

import masking
import pytest

from shared import packaging

TEXT = "Two laptops with the records of {} patients were stolen from the office in May."


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("write to jane.doe+x@clinic-a.example.org.", "email"),
        ("call 555-123-4567 today", "phone"),
        ("call (555) 123-4567", "phone"),
        ("call +1 555.123.4567.", "phone"),
        ("number 078-05-1120,", "social security number"),
        ("card 4111 1111 1111 1111.", "card number"),
        ("card 4111-1111-1111-1111", "card number"),
        ("card 4111111111111111", "card number"),
        ("card 3782 822463 10005", "card number"),
        ("account DE89 3704 0044 0532 0130 00.", "IBAN"),
        ("account DE89370400440532013000", "IBAN"),
        ("account NO93 8601 1117 947", "IBAN"),
        ("account FR14 2004 1010 0505 0001 3M02 606", "IBAN"),
        ("account GB29 NWBK 6016 1331 9268 19", "IBAN"),
        ("host 192.168.10.1 was", "IP address"),
        ("host 255.255.255.255.", "IP address"),
    ],
)
def test_personal_data_are_found_once_and_masked_whole(text: str, kind: str) -> None:
    assert masking.personal(text) == {kind: 1}
    hidden = masking.masked(text)
    assert f"[{kind}]" in hidden
    assert not any(c.isdigit() for c in hidden) and "@" not in hidden
    assert masking.personal(hidden) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1,874 patients and 12,500,000 records of 3.5 GB",
        "on 2011-01-01 and 12/31/2011",
        "between 2011-01-01 2012-02-02 and 2013-03-03",
        "the years 2009 2010 2011 2012",
        "from 2011-05-06T07:08:09.123456Z",
        "between 1,234 567 8901 and 10",
        "45 CFR 164.308(a)(1) and RFC 2616",
        "version 1.2.3 or 1.2.3.4.5 or 999.1.1.1",
        "order 123456789012345678901234567890",
        "a @ b, user@localhost, @mention",
        "IN 2011 DATA OF 1,874 WERE LOST FROM OFFICE",
        "FY11 DATA LOST FROM FILE ROOM AREA",
        "ISO 27001, HR12 and AB12 CD34",
    ],
)
def test_ordinary_numbers_are_no_personal_data(text: str) -> None:
    assert masking.personal(text) == {}
    assert masking.masked(text) == text


@pytest.mark.parametrize(
    "piece",
    [
        *("a", "1", "1 ", "1-", "a.", "a@", "a@a.", "a@a.-", "1.", "AB12 ", "A", "+", "(", "é "),
        TEXT,
    ],
)
def test_a_megabyte_is_looked_through_in_seconds(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    start = time.process_time()
    masking.personal(text)
    masking.masked(text)
    assert time.process_time() - start < 10


def test_it_needs_no_library() -> None:
    """Images that serve have neither scikit-learn nor torch."""
    script = Path(masking.__file__)
    assert packaging.local_imports(script) == [script]
    assert packaging._imported(script) <= sys.stdlib_module_names
