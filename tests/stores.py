"""MLflow's store for tests: a new one takes half a minute to migrate, a copy none."""

import shutil
from pathlib import Path

import pytest

from shared import tracking


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
        tracking.client()
    return path


@pytest.fixture
def store(folder: Path, migrated: Path) -> Path:
    """The blueprint's folder with a store of its own."""
    shutil.copy(migrated, folder / "mlflow.db")
    return folder
