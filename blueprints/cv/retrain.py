"""Retraining: the newest labelled images join the data, the pipeline runs, the better model serves.

python retrain.py --key-result KR3      what an alert or a timer starts (shared/actions.py)

Images come from the request log, so `service.log_inputs` must be on, or nothing can be learnt.
"""

import base64
import hashlib
from pathlib import Path
from typing import Any

import manifest
import numpy as np
import pandas as pd
import twins
from ingest import inspect
from predictor import Predictor, decode
from pydantic import Field, PositiveInt

from shared import joining, params, releasing, retraining

COLUMNS = ["path", "label", "subgroup", "split"]
LEARNT = ("train", "validation", "test")  # what images that show the same thing are all in, first


class RetrainParams(params.Params):
    rows: PositiveInt
    epochs: PositiveInt
    test_share: float = Field(gt=0, lt=1)
    validation_share: float = Field(gt=0, lt=1)
    gate_without: tuple[str, ...]


def kept(rows: list[dict[str, Any]], folder: Path) -> pd.DataFrame:
    """Write the images of labelled requests; a row for each, as `ingest` looks at files."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for row in rows:
        path = folder / f"{row['id']}.png"
        if not path.exists():
            with params.atomic(path) as draft:
                draft.write_bytes(base64.b64decode(row["image"]))
        looked = inspect(str(path), float("inf"))
        found.append(looked | {"path": str(path.resolve()), "label": row["truth"], "live": True})
    return pd.DataFrame(found)


def remembered(labels: Path) -> dict[str, str]:
    """File -> its split in the retraining before: what a champion learnt from is no test of it."""
    if not labels.exists():
        return {}
    table = manifest.read(labels)
    return dict(zip([Path(path).name for path in table["path"]], table["split"], strict=True))


def former() -> pd.DataFrame:
    """The images that the present model was made of, with the split each was in."""
    table = manifest.read(Path("data/checked.csv"))
    splits = manifest.read(Path("data/prepared/samples.csv")).set_index("image")["split"]
    table = table.assign(split=table["image"].map(splits), live=False)
    table["path"] = [str((manifest.RAW / "images" / name).resolve()) for name in table["image"]]
    return table[table["split"].notna()]


def together(
    old: pd.DataFrame, new: pd.DataFrame, bits: int | None, config: RetrainParams
) -> pd.DataFrame:
    """Both tables with a split for each row; images that show the same thing, the same number in
    `shows`, share it.

    A new image follows what training has seen of it, now or in a retraining before. Otherwise its
    split is drawn by its content; an old test image that has come back as a new one is left out.
    """
    table = pd.concat([old, new], ignore_index=True).fillna({"subgroup": "", "split": ""})
    tied = twins.groups(table.index, twins.pairs(table, bits))
    repeated = table.groupby(tied)["live"].transform("any")
    table = table.assign(shows=tied)[table["live"] | (table["split"] != "test") | ~repeated]
    for _, rows in table.groupby("shows"):
        seen = sorted(set(rows["split"]) & set(LEARNT), key=LEARNT.index)
        table.loc[rows.index, "split"] = seen[0] if seen else drawn(rows["sha256"].min(), config)
    return table


def drawn(content: str, config: RetrainParams) -> str:
    number = int(hashlib.sha256(content.encode()).hexdigest()[:8], 16) / 2**32
    if number < config.test_share:
        return "test"
    return "validation" if number < config.test_share + config.validation_share else "train"


def losses(predictor: Predictor, table: pd.DataFrame) -> np.ndarray:
    """[n] squared error of the positive class's probability (Brier score), the mean over the images
    that show the same thing: sent twice, a part is no second evidence."""
    read = (decode(Path(path).read_bytes(), float("inf")) for path in table["path"])  # one by one
    sure = np.array([answer.probability for answer in map(predictor.answer, read)])
    squared = (sure - (table["label"] == predictor.meta["positive"])) ** 2
    return squared.groupby(table["shows"]).mean().to_numpy()


def main() -> None:
    asked, config = retraining.arguments(__doc__), params.read("retrain", RetrainParams)
    live, data = asked.live, asked.live.resolve() / "data"
    stored = joining.Joined(live / "monitor.db").newest(config.rows)
    rows = [row for row in stored if "image" in row]
    if not rows:
        raise retraining.Failed("no labelled image in the log; is service.log_inputs on?")
    new = kept(rows, data / "images")
    known = remembered(data / "labels.csv")
    new["split"] = [known.get(Path(path).name, "") for path in new["path"]]
    bits = params.load_yaml("params.yaml")["validate"]["near_duplicate_bits"]
    table = together(former(), new[new["problem"] == ""], bits, config)
    with params.atomic(data / "labels.csv") as draft:
        table[COLUMNS].to_csv(draft, index=False)
    work = retraining.workspace(live)
    retraining.ease(work, config.gate_without)
    retraining.audit("data_appended", live, rows=len(new), data=retraining.version(data))
    changes = {"ingest.source": str(data / "labels.csv"), "train.weights": "file"}
    changes |= {"train.weights_file": str(Path("models/model.safetensors").resolve())}
    retraining.configure(work, changes | {"train.epochs": config.epochs})
    retraining.reproduce(work)
    recent = table[table["live"] & (table["split"] == "test")]
    challenger, champion = Predictor(work / "export"), Predictor(releasing.serving(live))
    comparison = releasing.compare(losses(challenger, recent), losses(champion, recent), seed=0)
    retraining.finish(asked, work, comparison)


if __name__ == "__main__":
    main()
