"""Numbers against the textbook."""

import numpy as np
import pytest
import scoring


def mean(values: np.ndarray) -> float:
    return float(values.mean())


def test_the_threshold_reaches_the_recall_and_no_more_than_needed() -> None:
    probability = np.array([0.9, 0.8, 0.4, 0.3, 0.7])
    positive = np.array([True, True, True, True, False])
    assert scoring.highest_threshold(probability, positive, 0.75) == 0.4
    assert scoring.highest_threshold(probability, positive, 1.0) == 0.3


def test_scores_are_the_textbooks() -> None:
    decided, positive = np.array([True, True, False, False]), np.array([True, False, True, False])
    found = scoring.scores(decided, positive)
    assert found == {"recall": 0.5, "precision": 0.5, "f1": 0.5}
    assert scoring.scores(np.zeros(2, bool), np.ones(2, bool))["f1"] == 0.0


def test_temperature_cools_overconfident_logits() -> None:
    logits = np.array([[8.0, -8.0], [8.0, -8.0], [-8.0, 8.0], [8.0, -8.0]])
    assert scoring.best_temperature(logits, np.array([0, 0, 1, 1])) > 5


def test_calibration_error_is_the_mean_gap() -> None:
    probability, positive = np.array([0.9, 0.9, 0.1, 0.1]), np.array([1, 0, 0, 0], bool)
    error, rows = scoring.calibration(probability, positive, 10)
    assert error == pytest.approx(0.25) and len(rows) == 2


def test_an_interval_holds_the_value() -> None:
    low, high = scoring.interval(mean, np.arange(100) % 2, parts=np.arange(100), seed=0)
    assert 0.35 < low < 0.5 < high < 0.65


def test_images_that_are_parts_of_their_own_are_drawn_one_by_one() -> None:
    values, generator = np.random.default_rng(1).random(50), np.random.default_rng(7)
    means = [values[generator.integers(0, 50, 50)].mean() for _ in range(500)]
    found = scoring.interval(mean, values, parts=np.arange(900, 400, -10), seed=7)
    assert found == np.quantile(means, [0.025, 0.975]).tolist(), "the same bits"


def test_an_interval_over_parts_holds_the_truth_as_often_as_it_says() -> None:
    """40 parts of 15 photos; the accuracy of .86 varies by part."""
    generator, parts, held = np.random.default_rng(0), np.repeat(np.arange(40), 15), []
    mixed = generator.permutation(600)
    for seed in range(100):
        right = generator.random((40, 15)) < generator.beta(5.16, 0.84, 40)[:, None]
        values = right.ravel()[mixed]
        low, high = scoring.interval(mean, values, parts=parts[mixed], seed=seed, rounds=200)
        held.append(low <= 0.86 <= high)
    assert np.mean(held) >= 0.88
