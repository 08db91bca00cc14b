"""Stage `validate`: fit to learn from? -> data/checked.csv, reports/validation.json."""

from pathlib import Path
from typing import Any, Literal

import labels
import manifest as images
import pandas as pd
import pandera.pandas as pa
import twins
from pydantic import NonNegativeInt, PositiveInt

from shared import params

CHECKED, REPORT = Path("data/checked.csv"), Path("reports/validation.json")


class ValidateParams(params.Params):
    max_problem_share: float
    min_side: PositiveInt
    channels: Literal["any", "gray", "colour"]
    min_per_class: PositiveInt
    max_label_conflicts: float
    near_duplicate_bits: NonNegativeInt | None
    min_label_signal: float
    label_noise_listed: NonNegativeInt


def schema(config: ValidateParams) -> pa.DataFrameSchema:
    """What each row of a readable image must satisfy."""
    side = pa.Check.ge(config.min_side, error=f"side below validate.min_side {config.min_side}")
    known = pa.Check(lambda text: text.str.strip() != "", error="label is missing")
    one = pa.Check(lambda text: ~text.str.match(r"\s*\["), error="a list; give one label per image")
    allowed = {"any": [True, False], "gray": [True], "colour": [False]}[config.channels]
    gray = pa.Check.isin(allowed, error=f"not validate.channels {config.channels}")
    share = pa.Check.in_range(0, 1, error="probability outside 0..1")
    split = pa.Check.isin(["", "train", "validation", "test"], error="unknown split")
    return pa.DataFrameSchema(
        {
            "label": pa.Column(str, [known, one]),
            "probability": pa.Column(float, share, nullable=True),
            "split": pa.Column(str, split),
            "width": pa.Column(float, side),
            "height": pa.Column(float, side),
            "gray": pa.Column(object, gray),
            "sha256": pa.Column(str, pa.Check.str_length(64, 64)),
        },
        coerce=True,
    )


def row_problems(manifest: pd.DataFrame, config: ValidateParams) -> pd.Series:
    """The reason why each row cannot be used, empty for good rows."""
    problems = manifest["problem"].copy()
    try:
        schema(config).validate(manifest[problems == ""], lazy=True)
    except pa.errors.SchemaErrors as error:
        for case in error.failure_cases.itertuples():
            if pd.isna(case.index):  # a whole column is wrong, not a row
                raise SystemExit(f"validate: column {case.column}: {case.check}") from None
            problems[case.index] = f"{case.column}: {case.check}"
    return problems


def examine(
    manifest: pd.DataFrame, config: ValidateParams, positive: str
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The report, with the reasons to stop under `stops`, and the usable rows.

    Column `twins` has one number for all rows that show the same thing, so that `prepare` keeps
    them in one split. Of exact copies only the first is usable, of those with different labels
    none; near duplicates may differ in their label, as parts before a fixed camera do.
    """
    problems = row_problems(manifest, config)
    readable = manifest[problems == ""]
    copies = readable.index[readable.duplicated("sha256")]
    distinct = readable.drop_duplicates(["sha256", "label", "split"])
    path, split, shown = manifest["path"], manifest["split"], manifest[["image", "path", "label"]]
    pairs = twins.pairs(distinct, config.near_duplicate_bits)
    conflicts = distinct.index[distinct.groupby("sha256")["label"].transform("nunique") > 1]
    leaks = [(a, b) for a, b, _ in pairs if split[a] and split[b] and split[a] != split[b]]
    usable = readable.drop(index=copies.union(conflicts))
    usable = usable.assign(twins=twins.groups(usable.index, pairs))
    signal, own = labels.doubts(usable, positive)
    doubtful = own[own < 0.5].sort_values()[: config.label_noise_listed]
    duplicates = twins.duplicates(readable, copies, pairs)
    gray = usable["gray"].astype(bool)
    report: dict[str, Any] = {
        "files": len(manifest),
        "usable": len(usable),
        "problem_share": float((problems != "").mean()),
        "classes": usable["label"].value_counts().sort_index().to_dict(),
        "channels": {"gray": int(gray.sum()), "colour": int((~gray).sum())},
        "exact_duplicates": len(copies),
        "near_duplicate_pairs": len(duplicates) - len(copies),
        "label_conflict_share": len(conflicts) / max(len(readable), 1),
        "label_signal_auc": signal,
        "problems": records(path[problems != ""].to_frame(), problem=problems),
        "duplicates": duplicates,
        "label_conflicts": records(shown.loc[conflicts]),
        "leaks_between_splits": [f"{path[a]} and {path[b]}" for a, b in leaks],
        "doubtful_labels": records(shown.loc[doubtful.index], probability_of_label=doubtful),
    }
    return report | {"stops": stops(report, config)}, usable


def records(rows: pd.DataFrame, **columns: pd.Series) -> list[dict[str, Any]]:
    """Rows and their values in more columns as a list for JSON."""
    more = {name: column[rows.index] for name, column in columns.items()}
    return rows.assign(**more).to_dict("records")


def stops(report: dict[str, Any], config: ValidateParams) -> list[str]:
    """One line per limit that the data break, naming the parameter."""
    few = [f"{name} ({n})" for name, n in report["classes"].items() if n < config.min_per_class]
    leaks = "; ".join(report["leaks_between_splits"][:3])
    found = [f"classes below validate.min_per_class: {', '.join(few)}"] if few else []
    found += ["fewer than two classes"] if len(report["classes"]) < 2 else []
    for names in labels.alike(list(report["classes"])):
        found.append(f"labels to be spelt one way: {', '.join(map(repr, names))}")
    found += [f"twins in different splits: {leaks}"] if leaks else []
    for key, limit in (
        ("problem_share", "max_problem_share"),
        ("label_conflict_share", "max_label_conflicts"),
        ("label_signal_auc", "min_label_signal"),
    ):
        above, value, bound = limit.startswith("max"), report[key], getattr(config, limit)
        if value > bound if above else value < bound:
            found.append(f"{key} {value:.3f} {'above' if above else 'below'} validate.{limit}")
    return [f"{line}; see {REPORT}" for line in found]


def main() -> None:
    config = params.stage("validate", ValidateParams)
    positive = params.load_yaml("params.yaml")["ingest"]["positive"]
    manifest = images.read(images.RAW / "manifest.csv")
    report, usable = examine(manifest, config, positive)
    params.write_json(REPORT, report)
    with params.atomic(CHECKED) as draft:
        usable.drop(columns="problem").to_csv(draft, index=False)
    if report["stops"]:
        raise SystemExit("\n".join(f"validate: {line}" for line in report["stops"]))
    print(f"validate: {len(usable)} of {len(manifest)} images usable -> {CHECKED}, {REPORT}")


if __name__ == "__main__":
    main()
