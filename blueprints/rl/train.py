"""Stage `train`: learn with several seeds, keep each one's best policy -> models/.

python train.py      a killed run goes on: seeds that are done stay, others from their checkpoint

The best policy of a seed is the one that did best on the validation part, which no seed learns
from; the seed that is exported is the best there too. The test decides nothing.
"""

import hashlib
import os
import shutil
from pathlib import Path

import pandas as pd
from env import EnvParams
from joblib import Parallel, delayed
from learning import learn
from market import PREPARED
from model import MODELS, TrainParams, arguments

from shared import objectives, params, tracking

CHECKPOINT = Path("checkpoint")


def checkpoint_folder(config: TrainParams, env: EnvParams) -> Path:
    """The folder for what is learnt with these data, parameters and scripts; others go."""
    digest = hashlib.sha256((config.model_dump_json() + env.model_dump_json()).encode())
    for path in [*sorted(PREPARED.iterdir()), *sorted(Path(__file__).parent.glob("*.py"))]:
        digest.update(path.read_bytes())
    folder = CHECKPOINT / digest.hexdigest()[:16]
    if not folder.exists():
        shutil.rmtree(CHECKPOINT, ignore_errors=True)
        folder.mkdir(parents=True)
    return folder


def write(folder: Path, config: TrainParams) -> tuple[pd.DataFrame, int]:
    """models/: a policy for each seed, the learning curves, and which seed is the best."""
    shutil.rmtree(MODELS, ignore_errors=True)
    MODELS.mkdir()
    rows = [row for seed in config.seeds for row in params.read_json(folder / f"{seed}.json")]
    curve = pd.DataFrame(rows)
    best = curve.groupby("seed")["validation"].max()
    chosen = int(best.idxmax())
    for seed in config.seeds:
        shutil.copy2(folder / f"{seed}.safetensors", MODELS)
    curve.to_csv(MODELS / "curve.csv", index=False)
    scores = {str(seed): float(score) for seed, score in best.items()}
    params.write_json(MODELS / "model.json", {"chosen": chosen, "validation": scores})
    return curve, chosen


def main() -> None:
    config, env = params.stage("train", TrainParams), params.read("env", EnvParams)
    arguments(config.algorithm, config.hyperparameters, config.decay)  # before anything takes long
    folder, scales = checkpoint_folder(config, env), params.read_json(PREPARED / "scales.json")
    run_id = tracking.start(objectives.load().name)
    Parallel(n_jobs=min(config.jobs, len(config.seeds)))(
        delayed(learn)(seed, env, config, scales, folder, os.getpid()) for seed in config.seeds
    )
    curve, chosen = write(folder, config)
    for steps, rows in curve.groupby("steps"):
        means = {"validation": rows["validation"].mean(), "reward": rows["training_reward"].mean()}
        run_id = tracking.epoch(run_id, int(steps), means)
    shutil.rmtree(CHECKPOINT)
    scores = curve.groupby("seed")["validation"].max()
    print(f"train: seed {chosen} of {len(scores)}, validation {scores[chosen]:.6g} -> {MODELS}")


if __name__ == "__main__":
    main()
