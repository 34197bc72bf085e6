"""Error rates by group: as counted by hand, and a largest gap that is not luck."""
import numpy as np
import pytest
from model_ops.errors import DataError
from model_ops.evaluate.groups import group_gaps, rates
from model_ops.evaluate.intervals import draw

rng = np.random.default_rng(0)
n = 3000
region = rng.choice(["north", "south", "west"], n)
y = rng.random(n) < 0.4
score = np.clip(0.3 + 0.4*y + rng.normal(0, 0.2, n), 0, 1)


def test_the_rates_are_those_of_the_confusion_matrix():
    from sklearn.metrics import confusion_matrix
    found = group_gaps({"region": region}, y, score, draw(n, resamples=100))
    for group in found.groups:
        mine = region == group.value
        tn, fp, fn, tp = confusion_matrix(y[mine], score[mine] >= 0.5).ravel()
        truth = {"error": (fp + fn)/mine.sum(), "missed": fn/(fn + tp), "false_alarms": fp/(fp + tn), "called": (tp + fp)/mine.sum()}
        assert group.rows == mine.sum() and all(group.rates[name].value == pytest.approx(value, rel=1e-5) for name, value in truth.items())


@pytest.mark.parametrize("task, truth, said, names", [("multiclass", rng.integers(0, 3, n), rng.dirichlet(np.ones(3), n), {"error"}), ("regression", rng.normal(size=n), rng.normal(size=n), {"size", "bias"})])
def test_other_tasks_have_their_own_rates(task, truth, said, names):
    assert set(rates(truth, said, task=task)) == names
    found = group_gaps({"region": region}, truth, said, draw(n, resamples=100), task=task)
    assert {gap.rate for gap in found.gaps} == names and found.sentence


def test_a_group_that_is_missed_more_often_is_named():
    worse = score - 0.4*(y & (region == "west"))
    missed = next(gap for gap in group_gaps({"region": region}, y, worse, draw(n, resamples=200)).gaps if gap.rate == "missed")
    assert missed.high == "west" and missed.clear and missed.size.low > 0.2


@pytest.mark.slow
@pytest.mark.parametrize("days", [0, 40])
def test_where_groups_are_alike_a_gap_is_clear_in_at_most_one_window_of_twenty(days):
    clear = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        day = np.sort(rng.integers(0, days, 2000)) if days else None
        group, level = rng.choice(list("abcde"), 2000), 0.3 if day is None else rng.beta(6, 14, days)[day]
        said = rng.random(2000) < level
        found = group_gaps({"g": group}, np.zeros(2000), said.astype(float), draw(2000, day, resamples=400, seed=seed))
        clear += next(gap for gap in found.gaps if gap.rate == "error").clear
    assert clear <= 0.05*150 + 2*np.sqrt(150*0.05*0.95)


def test_few_rows_and_few_blocks_are_said():
    rare = np.where(np.arange(n) < 5, "rare", region)
    assert "1 groups with few rows" in group_gaps({"region": rare}, y, score, draw(n, resamples=50)).notes[0]
    few = group_gaps({"region": region}, y, score, draw(n, np.arange(n) // 1000, resamples=50))
    assert all(gap.size.low is None and "at least 10" in gap.size.reason for gap in few.gaps) and few.sentence == "No gap between groups is more than chance."
    assert group_gaps({"one": np.full(n, "a")}, y, score, draw(n, resamples=50)).sentence == "There are no two groups to compare."
    with pytest.raises(DataError, match="'g'"): group_gaps({"g": np.arange(3)}, y, score, draw(n, resamples=50))
