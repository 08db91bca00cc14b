"""Stage `validate`: fit to learn from? -> data/checked.jsonl, reports/validation.json."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import base
import checks
import masking
from findings import masked_record, quantiles, reasons, shown, without_copies
from guided import problem_of
from pydantic import Field, NonNegativeInt, PositiveInt
from records import Json, guidance

from shared import params

RAW, CHECKED, REPORT = Path("data/raw"), Path("data/checked.jsonl"), Path("reports/validation.json")
Share = Annotated[float, Field(ge=0, le=1)]


class ValidateParams(params.Params):
    max_problem_share: Share
    min_examples: PositiveInt
    near_duplicate: Annotated[float, Field(gt=0, le=1)]
    max_conflicts: Share
    language: str | None
    max_other_languages: Share
    personal_data: Literal["report", "mask"]
    listed: NonNegativeInt


def read_lines(path: Path) -> list[Json]:
    """The rows of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def examine(
    rows: list[Json], schema: Json, config: ValidateParams, tokenizer: Any, limit: int
) -> tuple[Json, list[Json]]:
    """The report, with the reasons to stop under `stops`, and the usable rows.

    limit: tokens that an answer may have.
    """
    personal = {row["id"]: masking.personal(row["input"]) for row in rows}
    if config.personal_data == "mask":  # before anything of them comes into the report
        for row in rows:
            row["input"] = masking.masked(row["input"])
            row["output"] = masked_record(row["output"], schema, schema)
    problem = problem_of(guidance(schema))
    why = reasons(rows, schema, None if problem else tokenizer, limit)
    wrong = [(row, reason) for row, reason in zip(rows, why, strict=True) if reason]
    usable = [row for row, reason in zip(rows, why, strict=True) if not reason]
    kept, copies, conflicts = without_copies(usable)
    if not kept:
        first = wrong[0][1] if wrong else "no text comes with one record only"
        raise SystemExit(f"validate: none of {len(rows)} examples is usable; the first: {first}")
    report: Json = {
        "rows": len(rows),
        "usable": len(kept),
        "problem_share": len(wrong) / len(rows),
        "exact_duplicates": len(copies),
        "conflict_share": len(conflicts) / len(rows),
        "fields": checks.distribution([row["output"] for row in kept], schema),
        "problems": shown([row for row, _ in wrong], list(filter(None, why)), config.listed),
        "conflicts": shown(conflicts, ["other record"] * len(conflicts), config.listed),
    }
    report |= describe(kept, config, tokenizer) | tie(kept, config)
    found_personal = sum((personal[row["id"]] for row in kept), Counter())
    report["personal_data"] = dict(sorted(found_personal.items()))
    found = stops(report, kept, config)
    found += [f"ingest.schema cannot guide decoding: {problem}"] if problem else []
    return report | {"stops": [f"{line}; see {REPORT}" for line in found]}, kept


def describe(kept: list[Json], config: ValidateParams, tokenizer: Any) -> Json:
    """Languages and lengths of texts."""
    texts = [row["input"] for row in kept]
    languages = [checks.language(text) for text in texts]
    common = config.language or Counter(languages).most_common(1)[0][0]
    other = [row for row, code in zip(kept, languages, strict=True) if code != common]
    tokens = [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
    return {
        "language": common,
        "other_language_share": len(other) / len(kept),
        "tokens": dict(zip(("p5", "p50", "p95", "max"), quantiles(tokens), strict=True)),
        "other_languages": shown(other, [f"not {common}"] * len(other), config.listed),
    }


def tie(kept: list[Json], config: ValidateParams) -> Json:
    """Near duplicates, which get the same `twins`: the id of the first of them."""
    pairs = checks.near_twins([row["input"] for row in kept], config.near_duplicate)
    for row, cluster in zip(kept, checks.clusters(len(kept), pairs), strict=True):
        row["twins"] = kept[cluster]["id"]
    listed = [
        {"id": kept[one]["id"], "of": kept[two]["id"], "cosine": cosine}
        for one, two, cosine in pairs[: config.listed]
    ]
    return {"near_duplicate_pairs": len(pairs), "near_duplicates": listed}


def stops(report: Json, kept: list[Json], config: ValidateParams) -> list[str]:
    """One line per limit that the examples break, naming the parameter."""
    limits = {
        "problem_share": ("max_problem_share", config.max_problem_share),
        "conflict_share": ("max_conflicts", config.max_conflicts),
        "other_language_share": ("max_other_languages", config.max_other_languages),
    }
    found = [
        f"{key} {report[key]:.3f} above validate.{name}"
        for key, (name, limit) in limits.items()
        if report[key] > limit
    ]
    if len(kept) < config.min_examples:
        found.append(f"{len(kept)} usable examples are below validate.min_examples")
    splits: dict[str, set[str]] = {}
    for row in kept:
        if row["split"]:
            splits.setdefault(row["twins"], set()).add(row["split"])
    crossing = sorted(name for name, among in splits.items() if len(among) > 1)
    if crossing:
        found.append(f"near duplicates in different splits: {', '.join(crossing[:5])}")
    return found


def main() -> None:
    config = params.stage("validate", ValidateParams)
    rows, schema = read_lines(RAW / "examples.jsonl"), params.read_json(RAW / "schema.json")
    tokenizer = base.tokenizer(base.folder(params.read("model", base.ModelParams)))
    limit = params.load_yaml("params.yaml")["evaluate"]["max_answer_tokens"]
    report, usable = examine(rows, schema, config, tokenizer, limit)
    params.write_json(REPORT, report)
    with params.atomic(CHECKED) as draft:
        lines = (json.dumps(row) + "\n" for row in usable)
        draft.write_text("".join(lines), encoding="utf-8")
    if report["stops"]:
        raise SystemExit("\n".join(f"validate: {line}" for line in report["stops"]))
    print(f"validate: {len(usable)} of {len(rows)} examples usable -> {CHECKED}, {REPORT}")


if __name__ == "__main__":
    main()
