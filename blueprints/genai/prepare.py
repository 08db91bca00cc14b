"""Stage `prepare`: prompts, answers, split -> data/prepared/, reports/reference.json."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import base
import monitor
import numpy as np
import pandas as pd
import traces
from prompts import Frame, clean, frame, tokens
from pydantic import Field, PositiveInt
from records import Json, fields, value, write
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from shared import params

RAW, CHECKED, PREPARED = Path("data/raw"), Path("data/checked.jsonl"), Path("data/prepared")
Share = Annotated[float, Field(gt=0, le=0.5)]


class PrepareParams(params.Params):
    instruction: str = Field(min_length=1)
    max_text_tokens: PositiveInt
    truncate: Literal["end", "middle"]
    test_share: Share
    validation_share: Share
    stratify: str | None
    seed: int


def strata(rows: list[Json], field: str | None, schema: Json) -> np.ndarray:
    """[n] what each split should have in equal shares; the rare together."""
    if field is not None and field not in fields(schema):
        known = ", ".join(fields(schema))
        raise SystemExit(f"params.yaml: prepare.stratify: {field} is none of {known}")
    found = pd.Series([json.dumps(value(row["output"], field or "")) for row in rows])
    return found.where(found.map(found.value_counts()) >= 10, "rare").to_numpy()


def held_out(groups: np.ndarray, kinds: np.ndarray, share: float, seed: int) -> np.ndarray:
    """[m] positions of about `share` of the rows; groups stay whole, kinds keep their shares."""
    splitter = StratifiedGroupKFold(max(2, round(1 / share)), shuffle=True, random_state=seed)
    return np.asarray(next(splitter.split(kinds, kinds, groups))[1])


def together(rows: list[Json]) -> np.ndarray:
    """[n] the same number for all rows that near duplicates or a common `group` tie together."""
    owners = [f"twins {row['twins']}" for row in rows]
    owners += [f"group {row['group'] or ['none', i]}" for i, row in enumerate(rows)]
    number, names = len(rows), pd.factorize(np.array(owners))[0]
    edges = (np.ones(2 * number), (np.tile(np.arange(number), 2), number + names))
    return connected_components(coo_array(edges, shape=[number + len(owners)] * 2))[1][:number]


def split(rows: list[Json], schema: Json, config: PrepareParams) -> list[str]:
    """train, validation or test for each row: as it or one tied to it says, the rest drawn."""
    groups, kinds = together(rows), strata(rows, config.stratify, schema)
    said = pd.Series([row["split"] or None for row in rows], dtype=object).groupby(groups)
    if (said.nunique() > 1).any():
        raise SystemExit("prepare: a group, or near duplicates, lie in two splits")
    found = said.transform("first").fillna("").to_numpy(dtype=object)
    for name, share in (("test", config.test_share), ("validation", config.validation_share)):
        free = np.flatnonzero(found == "")
        if name not in found and len(free):
            if len(set(groups[free])) < round(1 / share):
                raise SystemExit(f"prepare: {len(free)} examples are too few to split")
            found[free[held_out(groups[free], kinds[free], share, config.seed)]] = name
    found[found == ""] = "train"
    if absent := sorted({"train", "validation", "test"} - set(found)):
        raise SystemExit(f"prepare: no examples for {absent}")
    return [str(name) for name in found]


def encoder(tokenizer: Any) -> Callable[[str], list[int]]:
    """Text -> its tokens, and none that the tokenizer would add."""
    return lambda text: [int(i) for i in tokenizer(text, add_special_tokens=False)["input_ids"]]


def encode(row: Json, parts: Frame, tokenizer: Any, schema: Json, config: PrepareParams) -> Json:
    """One example in tokens: the text is cut where it is too long, the answer never."""
    text = clean(row["input"], parts.special)
    to_tokens = encoder(tokenizer)
    prompt, inner = tokens(to_tokens, parts, text, config.max_text_tokens, config.truncate)
    record = write(row["output"], schema)
    return {
        "id": row["id"],
        "text": text,
        "output": record,
        "prompt": prompt,
        "answer": [*to_tokens(record), tokenizer.eos_token_id],
        "cut": len(inner) > config.max_text_tokens,
        **traces.features(text, inner),
    }


def main() -> None:
    config = params.stage("prepare", PrepareParams)
    rows = [json.loads(line) for line in CHECKED.read_text(encoding="utf-8").splitlines()]
    schema = params.read_json(RAW / "schema.json")
    tokenizer = base.tokenizer(base.folder(params.read("model", base.ModelParams)))
    parts = frame(tokenizer, config.instruction)
    table = pd.DataFrame([encode(row, parts, tokenizer, schema, config) for row in rows])
    table.insert(1, "split", split(rows, schema, config))
    shutil.rmtree(PREPARED, ignore_errors=True)  # a killed run may have left drafts
    PREPARED.mkdir(parents=True)
    with params.atomic(PREPARED / "examples.parquet") as draft:
        table.to_parquet(draft, index=False)
    limits = {"max_text_tokens": config.max_text_tokens, "truncate": config.truncate}
    limits |= {"longest_answer": int(table["answer"].map(len).max())}
    meta = {"schema": schema, "frame": parts._asdict(), "instruction": config.instruction}
    params.write_json(PREPARED / "meta.json", meta | limits, exact=True)
    train = table[table["split"] == "train"]
    outputs = [json.loads(text) for text in train["output"]]
    params.write_json("reports/reference.json", monitor.reference(train, outputs, schema))
    counts = table["split"].value_counts().to_dict()
    print(f"prepare: {counts}, {int(table['cut'].sum())} texts cut -> {PREPARED}")


if __name__ == "__main__":
    main()
