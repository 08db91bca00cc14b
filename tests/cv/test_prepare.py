"""No image, group or twin is in two splits, and every stratum is in each."""

import pandas as pd
import pytest
from prepare import PrepareParams, split

CONFIG = PrepareParams(image_size=64, test_share=0.25, validation_share=0.15, seed=0)


def table(rows: int = 400) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "label": ["bad", "good", "good", "good"] * (rows // 4),
            "probability": [1.0, 0.0, 0.0, 1 / 3] * (rows // 4),
            "subgroup": ["mono"] * (rows // 2) + ["poly"] * (rows // 2),
            "group": "",
            "split": "",
            "twins": range(rows),
        }
    )


def test_the_shares_and_strata_are_kept() -> None:
    given = table()
    drawn = split(given, CONFIG)
    assert drawn.value_counts(normalize=True).to_dict() == pytest.approx(
        {"test": 0.25, "validation": 0.107, "train": 0.643}, abs=0.03
    )
    share = (
        given.assign(drawn=drawn)
        .groupby("drawn")["label"]
        .value_counts(normalize=True)
        .unstack()["bad"]
    )
    assert share.to_numpy() == pytest.approx([0.25] * 3, abs=0.03)
    assert split(given, CONFIG).equals(drawn), "the seed decides"


def test_groups_and_twins_stay_together() -> None:
    given = table().assign(group=[str(i // 8) for i in range(400)])
    given.loc[399, "twins"] = 0  # ties the first group to the last
    drawn = split(given, CONFIG)
    assert drawn.groupby(given["group"]).nunique().max() == 1 and drawn[0] == drawn[399]


def test_a_given_split_is_kept_and_checked() -> None:
    given = table(8).assign(split=["train"] * 4 + ["validation"] * 2 + ["test"] * 2)
    assert split(given, CONFIG).tolist() == given["split"].tolist()
    with pytest.raises(SystemExit, match="a group lies in two splits"):
        split(given.assign(group="one part"), CONFIG)
    with pytest.raises(SystemExit, match="no rows for \\['test'\\]"):
        split(given.assign(split=["train"] * 6 + ["validation"] * 2), CONFIG)
