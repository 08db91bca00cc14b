"""Stage `export`: models/ -> export/ (INT4 ONNX, tokenizer, model.json), export.json.

The adapter is merged into the fp32 base, and the sum quantised. export.json says on how many
records of the test part both agree, how long an answer of the small one takes, one at a time as in
the service, and how much faster it is, in the same run.
"""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import base
import guided
import model
import numpy as np
import pandas as pd
import quantising
import scoring
import torch
from predictor import Predictor
from pydantic import PositiveInt
from records import Json
from tqdm import tqdm

from shared import exporting, params
from shared.guards import BadInput

PREPARED, EXPORT, MERGED = Path("data/prepared"), Path("export"), Path("checkpoint/merged")


class ExportParams(params.Params):
    algorithm: str
    eight_bits: list[str]
    block_size: PositiveInt
    accuracy_level: PositiveInt
    speed_prompts: PositiveInt
    speed_tokens: PositiveInt


def describe() -> Json:
    """model.json: everything that the predictor must know beside the graph."""
    values, meta = params.load_yaml("params.yaml"), params.read_json(PREPARED / "meta.json")
    found = {"max_answer_tokens": values["evaluate"]["max_answer_tokens"]}
    return dict(meta) | found | {"personal_data": values["validate"]["personal_data"]}


def predictions(predictor: Predictor, texts: list[str]) -> tuple[list[Any], dict[str, float]]:
    """The INT4 model's record of each text, None where it did not end; quantiles of the times."""
    found, seconds = [], []
    for text in tqdm(texts, desc="int4", unit="text"):
        begin = time.perf_counter()
        try:
            found.append(predictor.answer(text).record)
        except BadInput:
            found.append(None)
        seconds.append(time.perf_counter() - begin)
    half, most = (float(value) * 1e3 for value in np.quantile(seconds, [0.5, 0.95]))
    return found, {"latency_p50_ms": half, "latency_p95_ms": most}


def agreement(ours: list[Any], theirs: list[Any], schema: Json) -> dict[str, float]:
    """Shares of equal records and fields of two models on the same texts."""
    equal = np.array(list(scoring.hits(ours, theirs, schema).values()))
    found = {"record_agreement": float(equal.all(axis=0).mean())}
    return found | {"field_agreement": float(equal.mean())}


def same_tokens(predictor: Predictor, table: pd.DataFrame) -> float:
    """Share of texts whose prompt has the same tokens here as in training."""
    pairs = zip(table["text"], table["prompt"], strict=True)
    return float(np.mean([predictor.prompt(text).tokens == list(ids) for text, ids in pairs]))


def speeds(
    predictor: Predictor, network: Any, asked: list[list[int]], number: int
) -> dict[str, float]:
    """Tokens per second of answers without a schema, in turns, after the prompt has been read.

    The fastest of each, as what else runs on a machine only ever slows down.
    """

    def theirs(tokens: list[int]) -> float:
        reading = guided.Reading(network, [tokens], 0)
        one, logits = torch.ones((1, 1), dtype=torch.long), reading.logits
        begin = time.perf_counter()
        for _ in range(number):
            logits = reading.follow(logits.argmax(1)[:, None], one, 1)[:, -1]
        return number / (time.perf_counter() - begin)

    def ours(tokens: list[int]) -> float:
        pieces = predictor.generate(tokens, None, number + 1)
        next(pieces)
        begin = time.perf_counter()
        count = sum(1 for _ in pieces)
        return count / (time.perf_counter() - begin)

    rates: dict[str, list[float]] = {"onnx_int4": [], "torch": []}
    with torch.inference_mode():
        for tokens in asked:
            rates["torch"].append(theirs(tokens))
            rates["onnx_int4"].append(ours(tokens))
    return {name: max(values) for name, values in rates.items()}


def main() -> None:
    config, train = params.stage("export", ExportParams), params.read("train", model.TrainParams)
    place = base.folder(params.read("model", base.ModelParams))
    torch.set_num_threads(train.threads or torch.get_num_threads())
    tokenizer, network = base.tokenizer(place), model.merged(base.load(place))
    for folder in (EXPORT, MERGED):
        shutil.rmtree(folder, ignore_errors=True)
    network.save_pretrained(MERGED)
    tokenizer.save_pretrained(MERGED)
    weights = {"method": config.algorithm, "block_size": config.block_size}
    weights |= {"accuracy_level": config.accuracy_level}
    quantising.build(MERGED, EXPORT, weights, config.eight_bits)
    shutil.rmtree(MERGED)
    params.write_json(EXPORT / "model.json", describe(), exact=True)
    predictor = Predictor(EXPORT, train.threads or 2)
    predictor.masks = False  # the texts here are masked; a second time might find more
    table = pd.read_parquet(PREPARED / "examples.parquet")
    test = table[table["split"] == "test"]
    rows = Path("data/answers.jsonl").read_text(encoding="utf-8").splitlines()
    theirs = [scoring.parsed(json.loads(row)["tuned"]) for row in rows]
    schema = params.read_json(PREPARED / "meta.json")["schema"]
    ours, latencies = predictions(predictor, list(test["text"]))
    truths, found = map(json.loads, test["output"]), agreement(ours, theirs, schema) | latencies
    scores = scoring.score(ours, list(truths), schema)
    found |= {name: scores[name] for name in ("valid_json", "exact_match")}
    found |= {"same_tokens": same_tokens(predictor, table)}
    found |= {"size_mb": exporting.size_mb(*EXPORT.iterdir())}
    asked = [list(prompt) for prompt in test["prompt"][: config.speed_prompts]]
    rates = speeds(predictor, network, asked, config.speed_tokens)
    found |= {"tokens_per_second": rates["onnx_int4"]}
    found |= {"speedup": rates["onnx_int4"] / rates["torch"]}
    report = {"onnx_int4": found, "torch": {"tokens_per_second": rates["torch"]}}
    params.write_json("export.json", report)
    agreed, size = found["record_agreement"], found["size_mb"]
    print(f"export: {agreed:.3f} of records agree, {size:.0f} MB -> {EXPORT}")


if __name__ == "__main__":
    main()
