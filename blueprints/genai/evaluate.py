"""Stage `evaluate`: records of the test part, against baselines -> metrics.json, plots/.

The tuned model, the same model untuned, the untuned one with similar examples in its prompt, and
regular expressions; all models decode under the same schema. Nothing here chooses.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import base
import baselines
import behaviour
import figures
import guided
import model
import numpy as np
import page
import pandas as pd
import scoring
import shots
import torch
from asking import EvaluateParams, Test
from records import Json, value

from shared import params

ANSWERS = Path("data/answers.jsonl")


def judge_base(test: Test, network: Any) -> tuple[Json, list[guided.Answer]]:
    """The baselines: regular expressions, the untuned model, the same with similar examples."""
    schema, config = test.meta["schema"], test.config
    rules, usual = config.rules, baselines.usual(test.learnt, schema, config.rules)
    patterns = baselines.compiled(rules, schema)
    found = [baselines.record(text, patterns, usual) for text in test.rows["text"]]
    scores = {"regex": scoring.score(found, test.truths, schema)}
    asked = [list(prompt) for prompt in test.rows["prompt"]]
    untuned = test.ask(network, asked, "untuned", true=True)
    scores["untuned"] = test.scores(untuned)
    if config.shots:
        similar = shots.nearest(test.train, list(test.rows["text"]), config.shots)
        longer = [shots.before(prompt, row) for prompt, row in zip(asked, similar, strict=True)]
        scores["retrieval"] = test.scores(test.ask(network, longer, "retrieval", true=False))
    return scores, untuned


def judge_behaviour(test: Test, network: Any, found: list[guided.Answer]) -> Json:
    """Behavioural tests on the first examples of the test part."""
    number, schema = test.config.behaviour_examples, test.meta["schema"]

    def ask(texts: list[str], name: str) -> list[tuple[str, Any]]:
        answers = test.ask(network, [test.prompt(text) for text in texts], name, true=False)
        return [(answer.text, scoring.parsed(answer.text)) for answer in answers]

    texts = list(test.rows["text"][:number])
    before = [scoring.parsed(answer.text) for answer in found[:number]]
    words, instruction = test.config.paraphrases, test.meta["instruction"]
    truths, seed = test.truths[:number], test.config.seed
    return behaviour.judge(texts, before, truths, schema, instruction, words, ask, seed)


def judge_tuned(test: Test, network: Any) -> tuple[Json, Json, list[guided.Answer]]:
    """Scores of the tuned model, its behaviour, and what it answered."""
    found = test.ask(network, [list(prompt) for prompt in test.rows["prompt"]], "tuned", true=True)
    parsed = [scoring.parsed(answer.text) for answer in found]
    hit = np.array(list(scoring.hits(parsed, test.truths, test.meta["schema"]).values()))
    sure, right = np.array([answer.confidence for answer in found]), hit.all(axis=0)
    bins, seed = test.config.calibration_bins, test.config.seed
    scores = test.scores(found) | {"examples": len(found)}
    scores["exact_match_interval"] = scoring.interval(hit.mean(axis=0), seed)
    scores["confidence_ece"] = scoring.calibration(sure, right, bins)
    figures.reliability(sure, right, bins)
    return scores, judge_behaviour(test, network, found), found


def write_failures(test: Test, found: list[guided.Answer], number: int) -> None:
    """plots/failures.html: wrong fields with the text, the surest first."""
    said, rows = [scoring.parsed(answer.text) for answer in found], []
    for name, right in scoring.hits(said, test.truths, test.meta["schema"]).items():
        for i in np.flatnonzero(~right):
            one, other = str(value(said[i], name)), str(value(test.truths[i], name))
            rows.append((found[i].confidence, name, one, other, test.rows["text"].iloc[i]))
    rows.sort(key=lambda row: (-row[0], row[1:]))
    table = pd.DataFrame(rows[:number], columns=["confidence", "field", "answer", "truth", "text"])
    grid = page.grid(table.round(3).set_index("confidence"))
    told = {"All of them": ["Wrong fields of the test part, the surest first.", grid]}
    text = page.page("What the tuned model gets wrong", "", told)
    (figures.PLOTS / "failures.html").write_text(text, encoding="utf-8")


def main() -> None:
    config, train = (
        params.stage("evaluate", EvaluateParams),
        params.read("train", model.TrainParams),
    )
    place = base.folder(params.read("model", base.ModelParams))
    torch.set_num_threads(train.threads or torch.get_num_threads())
    test = Test(config, base.tokenizer(place))
    shutil.rmtree(figures.PLOTS, ignore_errors=True)
    figures.PLOTS.mkdir()
    quick = base.load(place, model.dtype(train.precision))  # twice as fast, where bf16 is
    baseline, untuned = judge_base(test, quick)
    scores, behaves, tuned = judge_tuned(test, model.merged(base.load(place)))
    gain = scores["exact_match"] - baseline["untuned"]["exact_match"]
    metrics = {"test": scores, "baseline": baseline | {"gain": gain}, "behaviour": behaves}
    params.write_json("metrics.json", metrics)
    shown = {"tuned": scores} | baseline
    figures.bars({name: found["field_exact_match"] for name, found in shown.items()})
    write_failures(test, tuned, config.failures_shown)
    with params.atomic(ANSWERS) as draft:
        pairs = zip(test.rows["id"], tuned, untuned, strict=True)
        rows = [{"id": i, "tuned": one.text, "untuned": two.text} for i, one, two in pairs]
        draft.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    before = baseline["untuned"]["exact_match"]
    print(
        f"evaluate: exact match {scores['exact_match']:.3f}, untuned {before:.3f} -> metrics.json"
    )


if __name__ == "__main__":
    main()
