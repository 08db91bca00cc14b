"""An agency's report as a letter, in which a citizen or a lawyer tells of the same incident.

The facts stay: the number in digits, what the data lay on, who lost them. Around them is what real
letters have: addresses, dates, file numbers and other figures that are not asked for.
"""

import re

import numpy as np

# What the agency says -> what others say; one of these is drawn for all of a letter.
WORDS = {
    r"(?:electronic |unsecured )?protected health information(?: \((?:e-?)?PHI\))?": (
        "medical data",
        "health records",
        "private medical details",
    ),
    r"\b(?:e-?)?PHI\b": ("data", "records", "private details"),
    r"\bcovered entity('s)?(?: \(CE(?:'s)?\))?": (r"company\1", r"corporation\1"),
    r"\bCE\b": ("company", "corporation"),
    r"\bbusiness associate('s)?(?: \(BA(?:'s)?\))?": (r"contractor\1", r"service firm\1"),
    r"\bBA\b": ("contractor", "service firm"),
    r"\bOCR\b": ("your office",),
    r"\bHHS\b": ("the federal department",),
    r"\b(?:affected )?individuals\b": ("people", "persons", "men and women"),
    r"\bapproximately\b": ("about", "some", "roughly"),
    r"\blaptop(s?)(?: computers?)?\b": (r"notebook\1", r"portable PC\1"),
    r"\bdesktop computer(s?)\b": (r"PC\1", r"tower PC\1"),
    r"\b(?:flash|thumb|USB) drive(s?)\b": (r"memory stick\1",),
    r"\bstolen\b": ("taken", "carried off"),
    r"\bdisclosed\b": ("made known", "given away"),
    r"\b(?:following|upon discovery of) the breach\b": ("afterwards", "when it came out"),
    r"\bbreach\b": ("incident", "loss"),
    r"\bprovided (?:breach )?notification to\b": ("informed", "wrote to"),
    r"\bnotified\b": ("informed", "wrote to"),
    r"\bcontaining\b": ("with", "that held"),
    r"\bworkforce member('s|s)?\b": (r"employee\1",),
    r"(?<=\d),(?=\d{3}\b)": ("", ","),
}
LETTERS = (
    """{name}
{street}
{town}

{date}

Dear Sir or Madam,

I am writing to you because I have just learned that my own records were among those that got \
out, and at {years} I do not want to spend my days on the phone with banks. A neighbor gave me \
this account of it, and I believe it is right.

{report}

I called them twice and waited {few} minutes each time. Please look into this. I can be reached \
at home after 5 p.m.

Yours truly,
{name}
""",
    """To whom it may concern

My name is {name}, I live at {street}, {town}, and I want to complain. My letter of {date} was \
never answered. This is what I know about how they treated our data:

{report}

My wife and I are both over {years} and very worried. We pay ${few} a month and expect better \
than this. What are you going to do about it?

{name}
""",
    """{firm}
{street}, Suite {few}00
{town}

{date}

Re: Our file {file}

Dear Counsel:

This firm represents a client whose confidential information was exposed. We set out the \
circumstances as they are known to us and reserve all rights.

{report}

Our client was entitled to notice within 60 days. Kindly confirm by return that all related \
documents are being preserved, and let us have your reply within {few} days.

Very truly yours,
{name}
{firm}
""",
    """BY CERTIFIED MAIL, {date}

{firm}, {street}, {town}

Complaint on behalf of {name}, born 19{years}, our reference {file}

Ladies and Gentlemen,

we have been retained by the above. On information and belief, the facts are these. {report}

Our client has had to freeze accounts at {few} banks and stores. We ask that you open an inquiry \
and send us a copy of the file. A power of attorney is enclosed (2 pages).

Sincerely,
{firm}
""",
)
NAMES = ("Martha Kowalski", "Luis Ortega", "Denise Whitfield", "Harold Nguyen", "Ruth Abernathy")
FIRMS = ("Hartley & Moss LLP", "Law Offices of J. D. Pruitt", "Okafor Stein, Attorneys at Law")
STREETS = ("Elm Street", "County Road", "Lakeview Drive", "North 3rd Avenue")
TOWNS = ("Columbus, OH 43215", "Macon, GA 31201", "Tucson, AZ 85719", "Duluth, MN 55802")
MONTHS = ("January", "March", "May", "August", "October", "November")


def letter(report: str, draw: np.random.Generator) -> str:
    """One of the letters, drawn like the names and figures in it, around the report's facts."""
    return str(draw.choice(LETTERS)).format(
        report=reworded(report, draw),
        name=draw.choice(NAMES),
        firm=draw.choice(FIRMS),
        street=f"{draw.integers(100, 9900)} {draw.choice(STREETS)}",
        town=draw.choice(TOWNS),
        date=f"{draw.choice(MONTHS)} {draw.integers(1, 29)}, {draw.integers(2010, 2016)}",
        years=draw.integers(51, 80),
        few=draw.integers(10, 50),
        file=f"{draw.integers(10, 16)}-{draw.integers(1000, 9999)}",
    )


def reworded(report: str, draw: np.random.Generator) -> str:
    """The same in other words."""
    for pattern, choices in WORDS.items():
        report = exchanged(report, pattern, str(draw.choice(choices)))
    return report


def exchanged(text: str, pattern: str, words: str) -> str:
    """The text with other words; where a sentence begins, with a capital."""

    def one(match: re.Match[str]) -> str:
        found, before = match.expand(words), text[: match.start()].rstrip()
        return found if before and before[-1] not in ".!?" else found[:1].upper() + found[1:]

    return re.sub(pattern, one, text, flags=re.IGNORECASE)
