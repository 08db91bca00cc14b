"""What the predictor is told beside the graph: a packaged service has no params of training."""

from pathlib import Path

import export
import pytest
import yaml

from shared import params


@pytest.mark.parametrize("personal", ["report", "mask"])
def test_an_export_says_whether_texts_were_masked(
    personal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = {"validate": {"personal_data": personal}, "evaluate": {"max_answer_tokens": 9}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    params.write_json(export.PREPARED / "meta.json", {"schema": {}})
    assert export.describe() == {"schema": {}, "max_answer_tokens": 9, "personal_data": personal}
