"""Stage `evaluate`: scores on the test part, against baselines -> metrics.json, plots/.

Every seed is judged; the numbers are their median and their worst. Nothing here chooses.
"""

import shutil
from typing import Any

import figures
import playing
import scoring
import vectors
import year
from env import EnvParams
from market import PREPARED
from model import MODELS, TrainParams, load
from playable import make, random_play
from pydantic import PositiveInt

from shared import params

Json = dict[str, Any]
FIRST_SEED = 20_000  # of test episodes; validation has others


class EvaluateParams(params.Params):
    episodes: PositiveInt
    days_shown: PositiveInt
    seed: int


def policies(train: TrainParams, env: EnvParams) -> dict[int, playing.Act]:
    """Each seed's best policy, as Stable-Baselines3 plays it."""
    scales = params.read_json(PREPARED / "scales.json")
    spaces = vectors.many(env, "train", train.environments, 0)
    return {
        seed: playing.deterministic(load(MODELS / f"{seed}.safetensors", train, spaces, scales))
        for seed in train.seeds
    }


def judge_episodes(acts: dict[int, playing.Act], env: EnvParams, number: int) -> Json:
    """metrics.json of an environment without prices: returns, beside those of random play."""
    returns = {
        f"seed {seed}": playing.episodes(act, env.id, number, FIRST_SEED)[0]
        for seed, act in acts.items()
    }
    blind = random_play(make(env.id), number)["return"].to_numpy()
    figures.returns(returns | {"random": blind})
    rows = [{"mean_return": float(found.mean())} for found in returns.values()]
    test = scoring.over_seeds(rows, {"mean_return"})
    test["mean_return_interval"] = scoring.interval([row["mean_return"] for row in rows])
    test |= {"episodes": number, "seeds": len(rows)}
    return {"test": test, "baseline": {"random": float(blind.mean())}}


def main() -> None:
    config, env = params.stage("evaluate", EvaluateParams), params.read("env", EnvParams)
    shutil.rmtree(figures.PLOTS, ignore_errors=True)
    acts = policies(params.read("train", TrainParams), env)
    chosen = params.read_json(MODELS / "model.json")["chosen"]
    if env.id == "battery":
        metrics = year.judge(acts, env, chosen, config.days_shown, config.seed)
    else:
        metrics = judge_episodes(acts, env, config.episodes)
    params.write_json("metrics.json", metrics)
    name = "profit_usd" if env.id == "battery" else "mean_return"
    median, worst = metrics["test"][name], metrics["test"][f"{name}_worst"]
    print(f"evaluate: {name} {median:,.6g} (median of seeds), worst {worst:,.6g} -> metrics.json")


if __name__ == "__main__":
    main()
