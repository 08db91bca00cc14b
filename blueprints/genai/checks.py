"""What is found in examples: twins, languages, distributions of fields."""

import re
from collections import Counter

import numpy as np
import py3langid
from records import Json, fields, value
from schemas import nullable, types
from sklearn.feature_extraction.text import HashingVectorizer

LARGEST = 1e308
SPACELESS = r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]"  # Thai, Japanese, Chinese
WORD = rf"{SPACELESS}|(?:(?!{SPACELESS})\w){{2,}}"


def pieces(text: str) -> list[str]:
    """Every three words of a text in a row; of a shorter one the whole.

    In scripts without spaces each character is a word.
    """
    words = re.findall(WORD, text.lower()) or [text]
    return [" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))]


def near_twins(texts: list[str], similarity: float) -> list[tuple[int, int, float]]:
    """Pairs whose three-word pieces have at least this cosine; by position, with the cosine."""
    counter = HashingVectorizer(analyzer=pieces, norm="l2", alternate_sign=False, binary=True)
    matrix, found = counter.transform(texts), []
    for first in range(0, len(texts), 500):  # memory stays bounded
        close = (matrix[first : first + 500] @ matrix.T).tocoo()
        near = (close.col > first + close.row) & (close.data >= similarity - 1e-9)
        pairs = (first + close.row[near], close.col[near], close.data[near])
        found += list(zip(*(part.tolist() for part in pairs), strict=True))
    return sorted(found)


def clusters(number: int, pairs: list[tuple[int, int, float]]) -> list[int]:
    """[n] the same number for all that pairs tie together: the smallest position among them."""
    parent = list(range(number))

    def root(one: int) -> int:
        while parent[one] != one:
            one = parent[one]
        return one

    for one, other, _ in pairs:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return [root(one) for one in range(number)]


def language(text: str) -> str:
    """ISO 639-1 code of the likeliest language of the text's beginning."""
    return str(py3langid.classify(text[:2000])[0])


def distribution(outputs: list[Json], schema: Json) -> dict[str, Json]:
    """Field -> share of null, and how often each value occurs or the quantiles of numbers."""
    found: dict[str, Json] = {}
    for name, part in fields(schema).items():
        values = [value(output, name) for output in outputs]
        given = [item for item in values if item is not None]
        found[name] = {"null_share": 1 - len(given) / len(values), "nullable": nullable(part)}
        numbers = [
            float(max(-LARGEST, min(LARGEST, x))) for x in given if isinstance(x, int | float)
        ]
        if types(part) & {"integer", "number"} and numbers and "enum" not in part:
            quarters = np.quantile(np.array(numbers) / 4, [0, 0.25, 0.5, 0.75, 1])
            found[name]["quantiles"] = (quarters * 4).tolist()  # no difference overflows
        else:
            items = [x for item in given for x in (item if isinstance(item, list) else [item])]
            counts = Counter(str(item)[:60] for item in items)
            found[name]["distinct"], found[name]["counts"] = (
                len(counts),
                dict(counts.most_common(30)),
            )
    return found
