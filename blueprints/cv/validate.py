"""Stage `validate`: is the manifest fit to learn from? -> data/checked.csv, reports/validation.json."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from shared import params

RAW, CHECKED, REPORT = Path("data/raw"), Path("data/checked.csv"), Path("reports/validation.json")


class ValidateParams(params.Params):
    max_problem_share: float
    min_side: int
    min_per_class: int
    max_label_conflicts: float
    near_duplicate_bits: int
    min_label_signal: float
    label_noise_listed: int


def schema(config: ValidateParams) -> pa.DataFrameSchema:
    """What each row of a readable image must satisfy."""
    side = pa.Check.ge(config.min_side, error=f"side below validate.min_side {config.min_side}")
    known = pa.Check(lambda labels: labels.str.strip() != "", error="label is missing")
    return pa.DataFrameSchema(
        {
            "label": pa.Column(str, known),
            "probability": pa.Column(float, pa.Check.in_range(0, 1, error="probability outside 0..1"), nullable=True),
            "split": pa.Column(str, pa.Check.isin(["", "train", "validation", "test"], error="unknown split")),
            "width": pa.Column(float, side),
            "height": pa.Column(float, side),
            "sha256": pa.Column(str, pa.Check.str_length(64, 64)),
        },
        coerce=True,
    )


def row_problems(manifest: pd.DataFrame, config: ValidateParams) -> pd.Series:
    """The reason why each row cannot be used, empty for good rows."""
    problems = manifest["problem"].fillna("").copy()
    try:
        schema(config).validate(manifest[problems == ""], lazy=True)
    except pa.errors.SchemaErrors as error:
        for case in error.failure_cases.itertuples():
            if pd.isna(case.index):  # a whole column is wrong, not a row
                raise SystemExit(f"validate: column {case.column}: {case.check}") from None
            problems[case.index] = f"{case.column}: {case.check}"
    return problems


def duplicates(manifest: pd.DataFrame, bits: int) -> list[tuple[int, int, int]]:
    """Pairs (row, earlier row, differing bits) of exact (0) and near duplicates, by 256-bit perceptual hash.

    Hashes within `bits` of each other agree on one of `bits` + 1 slices, so only rows that share a slice are compared.
    """
    hashes = np.array([np.frombuffer(bytes.fromhex(value), np.uint8) for value in manifest["perceptual_hash"]])
    pairs: dict[tuple[int, int], int] = {}
    for columns in np.array_split(np.arange(32), bits + 1):
        for rows in (
            pd.Series(range(len(hashes))).groupby([bytes(part) for part in hashes[:, columns]]).indices.values()
        ):
            for position, row in enumerate(rows[1:], 1):
                distances = np.bitwise_count(hashes[rows[:position]] ^ hashes[row]).sum(axis=1)
                for other in np.flatnonzero(distances <= bits):
                    pairs[(int(row), int(rows[other]))] = int(distances[other])
    index = manifest.index
    return [(int(index[a]), int(index[b]), distance) for (a, b), distance in sorted(pairs.items())]


def label_doubts(manifest: pd.DataFrame, positive: str) -> tuple[float, pd.Series]:
    """AUC of a simple cross-validated model on thumbnails, and its probability of each row's own label.

    The AUC is the signal in the labels; rows whose own label gets a low probability are candidates for a second look.
    """
    thumbnails = [
        np.asarray(Image.open(RAW / "images" / name).convert("L").resize((48, 48), Image.Resampling.BOX)).ravel()
        for name in tqdm(manifest["image"], desc="validate", unit="image")
    ]
    target = (manifest["label"] == positive).to_numpy()
    parts = min(60, len(thumbnails) // 4)
    model = make_pipeline(StandardScaler(), PCA(parts, whiten=True, random_state=0), LogisticRegression(C=0.05))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    probability = cross_val_predict(model, np.array(thumbnails) / 255, target, cv=folds, method="predict_proba")[:, 1]
    own = np.where(target, probability, 1 - probability)
    return float(roc_auc_score(target, probability)), pd.Series(own, manifest.index)


def examine(manifest: pd.DataFrame, config: ValidateParams, positive: str) -> tuple[dict[str, Any], pd.DataFrame]:
    """The report, with the reasons to stop under `stops`, and the usable rows with a `twins` group."""
    problems = row_problems(manifest, config)
    readable = manifest[problems == ""]
    pairs = duplicates(readable, config.near_duplicate_bits) if len(readable) else []
    label, path, split = manifest["label"], manifest["path"], manifest["split"]
    conflicts = {row for a, b, _ in pairs if label[a] != label[b] for row in (a, b)}
    leaks = [f"{path[a]} and {path[b]}" for a, b, _ in pairs if split[a] and split[b] and split[a] != split[b]]
    copies = {a: b for a, b, _ in reversed(pairs) if readable["sha256"][a] == readable["sha256"][b]}
    usable = readable.drop(index=sorted(conflicts | set(copies)))
    usable = usable.assign(twins=pd.Series(range(len(manifest)), manifest.index)[usable.index])
    for a, b, _ in pairs:  # twins share a number, so that prepare keeps them in one split
        if a in usable.index and b in usable.index:
            usable.loc[usable["twins"] == usable["twins"][a], "twins"] = usable["twins"][b]
    counts = usable["label"].value_counts().sort_index()
    enough = len(counts) > 1 and counts.min() >= max(config.min_per_class, 5)
    signal, own = label_doubts(usable, positive) if enough else (0.0, pd.Series(dtype=float))
    doubtful = own[own < 0.5].sort_values()[: config.label_noise_listed]
    report: dict[str, Any] = {
        "files": len(manifest),
        "usable": len(usable),
        "problem_share": float((problems != "").mean()),
        "classes": counts.to_dict(),
        "exact_duplicates": len(copies),
        "near_duplicate_pairs": len(pairs) - len(copies),
        "label_conflict_share": len(conflicts) / max(len(readable), 1),
        "label_signal_auc": signal,
        "problems": [{"path": path[i], "problem": problems[i]} for i in problems[problems != ""].index],
        "duplicates": [{"path": path[a], "of": path[b], "bits": bits} for a, b, bits in pairs],
        "label_conflicts": [path[row] for row in sorted(conflicts)],
        "leaks_between_splits": leaks,
        "doubtful_labels": [
            {"path": path[i], "label": label[i], "probability_of_label": float(own[i])} for i in doubtful.index
        ],
    }
    return report | {"stops": stops(report, config)}, usable


def stops(report: dict[str, Any], config: ValidateParams) -> list[str]:
    """One line per limit that the data break, naming the parameter."""
    few = [f"{name} ({count})" for name, count in report["classes"].items() if count < config.min_per_class]
    found = {
        f"problem_share {report['problem_share']:.3f} above validate.max_problem_share": report["problem_share"]
        > config.max_problem_share,
        f"label_conflict_share {report['label_conflict_share']:.3f} above validate.max_label_conflicts": report[
            "label_conflict_share"
        ]
        > config.max_label_conflicts,
        f"classes below validate.min_per_class: {', '.join(few)}": bool(few),
        "fewer than two classes": len(report["classes"]) < 2,
        f"twins in different splits: {'; '.join(report['leaks_between_splits'][:3])}": bool(
            report["leaks_between_splits"]
        ),
        f"label_signal_auc {report['label_signal_auc']:.3f} below validate.min_label_signal": report["label_signal_auc"]
        < config.min_label_signal,
    }
    return [f"{line}; see {REPORT}" for line, broken in found.items() if broken]


def main() -> None:
    config = params.read("validate", ValidateParams)
    positive = params.load_yaml("params.yaml")["ingest"]["positive"]
    text = dict.fromkeys(["path", "label", "group", "subgroup", "split", "problem", "perceptual_hash"], str)
    manifest = pd.read_csv(RAW / "manifest.csv", dtype=text).fillna(dict.fromkeys(text, ""))
    report, usable = examine(manifest, config, positive)
    params.write_json(REPORT, report)
    with params.atomic(CHECKED) as draft:
        usable.drop(columns="problem").to_csv(draft, index=False)
    if report["stops"]:
        raise SystemExit("\n".join(f"validate: {line}" for line in report["stops"]))
    print(f"validate: {len(usable)} of {len(manifest)} images usable -> {CHECKED}, {REPORT}")


if __name__ == "__main__":
    main()
