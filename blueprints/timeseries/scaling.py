"""Time and memory of each stage and of the batch by number of series.

python scaling.py 500 5000      synthetic monthly series of 120 points, in a copied folder
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from shared import params

FOLDER = Path(__file__).parent


def synthetic(path: Path, number: int, points: int = 120) -> None:
    """So many monthly series with level, trend, season and noise, drawn with a seed."""
    generator, steps = np.random.default_rng(0), np.arange(points)
    times = pd.date_range("2014-01-01", periods=points, freq="MS")
    phase, size = generator.uniform(0, 12, (number, 1)), generator.lognormal(5, 1, (number, 1))
    season = 1 + 0.3 * np.sin((steps + phase) * np.pi / 6)
    growth = 1 + generator.normal(0, 0.003, (number, 1)) * steps
    values = size * season * growth * generator.lognormal(0, 0.1, (number, points))
    pd.DataFrame(
        {
            "series_id": np.repeat([f"S{i}" for i in range(number)], points),
            "timestamp": np.tile(times, number),
            "value": values.ravel(),
        }
    ).to_parquet(path, index=False)


def scale(number: int, folder: Path) -> None:
    """Run the stages and the batch on so many series in a copied folder; print a row for each."""
    kept = shutil.ignore_patterns(
        "data", "models", "export", "logs", ".dvc", "mlruns", "mlflow.db*"
    )
    shutil.copytree(FOLDER, folder, ignore=kept)
    synthetic(folder / "series.parquet", number)
    values = params.load_yaml(folder / "params.yaml")
    values["ingest"]["source"] = "series.parquet"
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(FOLDER.parent.parent)}
    for script in ("ingest", "validate", "prepare", "train", "export", "batch"):
        command = [sys.executable, f"{script}.py"] + ["all.parquet"] * (script == "batch")
        begin = time.perf_counter()
        with (folder / "log").open("w") as log:
            child = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
            _, status, usage = os.wait4(child.pid, 0)
        if status:
            said = (folder / "log").read_text(encoding="utf-8")[-2000:]
            raise SystemExit(f"scaling: {script} failed with {number} series:\n{said}")
        megabytes = usage.ru_maxrss / 1e3
        seconds = time.perf_counter() - begin
        print(f"| {number} | {script} | {seconds:.0f} | {megabytes:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("series", type=int, nargs="+", help="numbers of series, one run for each")
    print("| series | stage | seconds | MB |\n|---|---|---|---|", flush=True)
    for number in parser.parse_args().series:
        with tempfile.TemporaryDirectory() as temporary:
            scale(number, Path(temporary) / "app")


if __name__ == "__main__":
    main()
