"""The example of the OpenAPI page is a question that this very model answers."""

from typing import Any

import pytest
import requested


@pytest.mark.parametrize("covariates", [[], ["price", "holiday"]])
def test_the_example_is_answered_whatever_the_model_was_trained_with(covariates: list[str]) -> None:
    meta: dict[str, Any] = {"series": ["shop 7"], "horizon": 3, "levels": [80.0]}
    meta |= {"covariates": covariates}
    model = requested.described(meta)
    schema = model.model_json_schema()
    assert schema["title"] == "Question" and schema["additionalProperties"] is False
    asked = model.model_validate(schema["example"], strict=True)
    assert asked.series_id == "shop 7" and requested.limits(asked, meta) == (3, [80.0])
    found = requested.covariates(asked, meta, 3)
    assert (found is None) if not covariates else (found is not None and found.shape == (1, 3, 2))
