"""Stage `ingest`: the sample or the user's own examples -> data/raw/examples.jsonl, schema.json."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import jsonschema
from pydantic import Field, PositiveInt
from records import fields, guidance
from schemas import references, resolve
from sources import read_lines, read_sample, strict

from shared import params

RAW = Path("data/raw")
Json = dict[str, Any]


class IngestParams(params.Params):
    source: str
    schema_file: str = Field(alias="schema")
    limit: PositiveInt | None
    seed: int


def read_source(source: str) -> list[Json]:
    """Rows with input, output and the optional keys, from whatever `ingest.source` names."""
    path = Path(source).expanduser()
    if source == "sample":
        return read_sample(path)
    if path.is_file():
        return read_lines(path)
    wrong = "neither `sample` nor a file of JSON lines"
    raise SystemExit(f"params.yaml: ingest.source: {source} is {wrong}")


def whole(row: Json, number: int) -> Json:
    """A row with every key; lone surrogates, which no file can hold, become question marks."""
    row = json.loads(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace"))
    given = {key: row.get(key) for key in ("split", "group", "problem")}
    optional = {key: "" if found is None else str(found) for key, found in given.items()}
    return {"id": f"{number:06d}", "input": row["input"], "output": row["output"]} | optional


def read_schema(path: Path) -> Json:
    """The JSON schema of the outputs; SystemExit says why it cannot be used."""
    try:
        schema = strict(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise SystemExit(f"ingest: {path}: not a JSON file: {str(error)[:200]}") from None
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise SystemExit(f"ingest: {path}: must be an object with properties")
    if not isinstance(schema.get("$schema", ""), str):
        raise SystemExit(f"ingest: {path}: no JSON schema: $schema is no text")
    try:
        jsonschema.validators.validator_for(schema).check_schema(schema)
        for reference in references(schema):  # never fetched from elsewhere
            resolve({"$ref": reference}, schema)
        guidance(schema)
        if not fields(schema):
            raise SystemExit(f"ingest: {path}: must be an object with properties")
    except jsonschema.SchemaError as error:
        where = ".".join(map(str, error.absolute_path)) or "the whole"
        raise SystemExit(f"ingest: {path}: no JSON schema: {where}: {error.message}") from None
    except (ValueError, RecursionError) as error:
        raise SystemExit(f"ingest: {path}: cannot be used: {str(error)[:200]}") from None
    return schema


def main() -> None:
    config = params.stage("ingest", IngestParams)
    rows = [whole(row, i) for i, row in enumerate(read_source(config.source))]
    schema = read_schema(Path(config.schema_file).expanduser())
    if config.limit and config.limit < len(rows):
        drawn = random.Random(config.seed).sample(range(len(rows)), config.limit)  # noqa: S311
        rows = [rows[i] for i in sorted(drawn)]
    shutil.rmtree(RAW, ignore_errors=True)
    params.write_json(RAW / "schema.json", schema, exact=True)
    with params.atomic(RAW / "examples.jsonl") as draft:
        lines = (json.dumps(row) + "\n" for row in rows)  # in ASCII: no U+2028 looks like its end
        draft.write_text("".join(lines), encoding="utf-8")
    unusable = sum(bool(row["problem"]) for row in rows)
    print(f"ingest: {len(rows)} examples, {unusable} with problems -> {RAW}")


if __name__ == "__main__":
    main()
