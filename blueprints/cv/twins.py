"""Images that show the same thing: exact copies, and near duplicates by perceptual hash."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Pair = tuple[int, int, int]


def pairs(manifest: pd.DataFrame, bits: int | None) -> list[Pair]:
    """(row, earlier row, differing bits) for hashes of 256 bits that differ in at most `bits`.

    Such hashes agree on one of `bits` + 1 slices, so only rows that share a slice are compared.
    Without `bits` only rows of the same content are pairs.
    """
    index = manifest.index.to_numpy()
    if bits is None:
        same = pd.Series(index).groupby(manifest["sha256"].to_numpy()).agg(list)
        return sorted((b, a, 0) for rows in same for a, b in combinations(rows, 2))
    content = bytes.fromhex("".join(manifest["perceptual_hash"]))
    hashes = np.frombuffer(content, np.uint8).reshape(-1, 32)
    found: dict[tuple[int, int], int] = {}
    for columns in np.array_split(np.arange(32), bits + 1):
        slices = [bytes(part) for part in hashes[:, columns]]
        for rows in pd.Series(index).groupby(slices).indices.values():
            for position, row in enumerate(rows[1:], 1):
                distances = np.bitwise_count(hashes[rows[:position]] ^ hashes[row]).sum(axis=1)
                for other in np.flatnonzero(distances <= bits):
                    found[(int(index[row]), int(index[rows[other]]))] = int(distances[other])
    return [(a, b, distance) for (a, b), distance in sorted(found.items())]


def groups(rows: pd.Index, tied: list[Pair]) -> pd.Series:
    """One number per row; rows that pairs tie together, directly or through others, share it."""
    if rows.empty:
        return pd.Series(dtype=int)
    place = {row: position for position, row in enumerate(rows)}
    inside = [(place[a], place[b]) for a, b, _ in tied if a in place and b in place]
    ends = np.array(inside, int).reshape(-1, 2).T
    links = coo_array((np.ones(len(inside)), ends), (len(rows), len(rows)))
    return pd.Series(connected_components(links, directed=False)[1], rows)


def connected(table: pd.DataFrame) -> np.ndarray:
    """[n] one number per set of rows that twins or the `group` column tie together."""
    names = table["group"].where(table["group"] != "", "twins " + table["twins"].astype(str))
    parent = {name: name for name in names}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for _, rows in names.groupby(table["twins"]):
        for name in rows:
            parent[root(name)] = root(rows.iloc[0])
    return pd.factorize(names.map(root))[0]


def parts(table: pd.DataFrame) -> np.ndarray:
    """[n] the numbers of `connected` where any row has a `group`; else each row is its own."""
    return connected(table) if (table["group"] != "").any() else np.arange(len(table))


def duplicates(readable: pd.DataFrame, copies: pd.Index, tied: list[Pair]) -> list[dict[str, Any]]:
    """Exact copies with the first of their kind, then near duplicates, as the report lists them."""
    path, image, content = readable["path"], readable["image"], readable["sha256"]
    first = readable.index.to_series().groupby(content).first()
    found = [(row, first[content[row]], 0) for row in copies]
    found += [(a, b, distance) for a, b, distance in tied if content[a] != content[b]]
    return [
        {"path": path[a], "of": path[b], "bits": bits, "image": image[a], "of_image": image[b]}
        for a, b, bits in found
    ]
