"""MLflow's local store in a folder that was copied or moved, where `cp -r` took it along."""

import contextlib
import sqlite3
from pathlib import Path

# Columns of mlflow.db that name files by their whole path.
PATHS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "model_versions": ("source", "storage_location"),
    "logged_models": ("artifact_location",),
}


def follow(database: Path) -> None:
    """Point the store at the mlruns/ beside it, where it names that of another folder.

    Else the copy would write into the original, and lose its models with it.
    """
    files = database.resolve().parent / "mlruns"
    with contextlib.closing(sqlite3.connect(database)) as store, store:
        found = store.execute("SELECT artifact_location FROM experiments WHERE experiment_id = 0")
        before = str((found.fetchone() or [""])[0]).removesuffix("/0")
        if before == str(files) or not before.startswith("/") or not files.is_dir():
            return
        for table, columns in PATHS.items():
            for column in columns:
                store.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 (above)
                    f"WHERE {column} LIKE ? || '/%'",
                    (str(files), len(before) + 1, before),
                )
