"""Weak slices: hardly ever one where there is none, nearly always the one that is there."""
import numpy as np
import pytest
from model_ops.errors import DataError
from model_ops.evaluate.weak import row_loss, weak_slices


def _window(seed, n=3000, days=0):
    "Columns that say nothing about the loss; some of them are the same all day, and so is part of the loss."
    rng = np.random.default_rng(seed)
    day = np.sort(rng.integers(0, days or 1, n))
    weather, effect = rng.normal(size=days or 1), rng.gamma(8, 1/8, days or 1)
    slow = np.convolve(rng.normal(size=(days or 1) + 4), np.ones(5), "valid")
    columns = {"kind": rng.choice(list("ABCD"), n), "size": rng.normal(size=n), "hour": rng.integers(0, 10, n), "weather": weather[day] if days else rng.normal(size=n), "season": slow[day] + 0.3*rng.normal(size=n)}
    p = np.clip(rng.beta(1, 3, n)*effect[day], 0, 1)
    loss = row_loss((rng.random(n) < p).astype(int), p) if seed % 2 else rng.gamma(1, 1, n)*effect[day]
    return columns, loss, day if days else None


@pytest.mark.slow
@pytest.mark.parametrize("days", [0, 30, 60, 200])
def test_where_there_is_none_one_is_found_in_at_most_one_window_of_twenty(days):
    false = sum(bool(weak_slices(*_window(seed, days=days)[:2], _window(seed, days=days)[2], seed=seed).slices) for seed in range(200))
    assert false <= 0.05*200 + 2*np.sqrt(200*0.05*0.95)


@pytest.mark.parametrize("days", [0, 40])
@pytest.mark.parametrize("seed", range(3))
def test_a_planted_part_is_found_and_nothing_else(days, seed):
    columns, loss, day = _window(seed, 8000, days)
    bad = (columns["kind"] == "B") & (columns["hour"] > 6)
    weak = weak_slices(columns, loss*(1 + 2*bad), day, seed=seed)
    truly = {("kind", "B"), *(("hour", str(hour)) for hour in (7, 8, 9))}
    assert weak.slices and all(truly & set(one.conditions) for one in weak.slices) and len(truly & set(weak.slices[0].conditions)) == 2
    assert weak.slices[0].excess.low > 0 and weak.slices[0].p < 0.05


def test_the_bias_of_a_part_is_told():
    rng = np.random.default_rng(1)
    kind, y = rng.choice(list("AB"), 4000), rng.normal(size=4000)
    prediction = np.where(kind == "B", -2.0, 0.0)
    weak = weak_slices({"kind": kind}, abs(y - prediction), error=y - prediction)
    assert [one.conditions for one in weak.slices] == [[("kind", "B")]] and weak.slices[0].bias.low < 2 < weak.slices[0].bias.high


def test_the_loss_of_a_row_has_the_brier_score_as_its_mean():
    from sklearn.metrics import brier_score_loss
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, 200), rng.random(200)
    codes, chances = rng.integers(0, 3, 200), rng.dirichlet(np.ones(3), 200)
    assert row_loss(y, p).mean() == pytest.approx(brier_score_loss(y, p))
    assert row_loss(codes, chances, "multiclass").mean() == pytest.approx(((np.eye(3)[codes] - chances)**2).sum(axis=1).mean())
    assert row_loss([1.0, 2.0], [3.0, 2.0], "regression").tolist() == [4, 0]


def test_missing_values_are_a_part_and_tiny_ones_are_not():
    rng = np.random.default_rng(1)
    values = np.where(rng.random(4000) < 0.2, np.nan, rng.normal(size=4000))
    weak = weak_slices({"x": values, "rare": np.where(np.arange(4000) < 9, "r", "s")}, rng.gamma(2, 1, 4000)*(1 + np.isnan(values)))
    assert weak.slices[0].conditions == [("x", "missing")] and "rare" in weak.notes[0]


def test_too_few_blocks_and_bad_input_are_said():
    assert "20 are needed" in weak_slices({"a": np.arange(100)}, np.ones(100), np.arange(100) // 10, unit="weeks").sentence
    with pytest.raises(DataError, match="'a'"): weak_slices({"a": np.arange(3)}, np.ones(100))
    with pytest.raises(DataError, match="finite"): weak_slices({"a": np.arange(3)}, np.array([1, np.nan, 2]))


def test_the_same_seed_gives_the_same_result():
    columns, loss, day = _window(3, days=40)
    assert weak_slices(columns, loss, day) == weak_slices(columns, loss, day)
