"""Held-out reports as the authority's mail, with the record that a clerk confirms later.

python traffic.py --count 200                   as the agency writes them
python traffic.py --count 200 --shift letters   citizens and lawyers write of the same incidents
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import letters
import numpy as np
import pandas as pd

from shared import replay
from shared.replay import Item

Change = Callable[[str, np.random.Generator], str]
# name -> what happens to a report; the record that is right for it stays the same
SHIFTS: dict[str, Change] = {"none": lambda report, draw: report, "letters": letters.letter}


def items(shift: str, seed: int, once: bool = False) -> Iterator[Item]:
    """Reports of the test part, without end unless `once`: in a new order each time round."""
    table = pd.read_parquet("data/prepared/examples.parquet")
    held_out = set(table.loc[table["split"] == "test", "id"])
    lines = Path("data/checked.jsonl").read_text(encoding="utf-8").splitlines()
    test = [row for row in map(json.loads, lines) if row["id"] in held_out]
    draw = np.random.default_rng(seed)
    for _ in replay.rounds(once):
        for i in draw.permutation(len(test)):
            yield Item({"text": SHIFTS[shift](test[i]["input"], draw)}, test[i]["output"])


def main() -> None:
    asked = replay.arguments(__doc__, SHIFTS, rate=1)
    replay.send(asked, "/extract", items(asked.shift, asked.seed, asked.once))


if __name__ == "__main__":
    main()
