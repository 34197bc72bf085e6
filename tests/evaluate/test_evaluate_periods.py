"Periods: where they are cut, what is said of them, and how often alike ones are called different."
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from model_ops.errors import ParameterError
from model_ops.evaluate.intervals import LEAST_BLOCKS, Interval
from model_ops.evaluate.periods import Period, alike, cut, display_periods, judged, sentences


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 80), st.integers(1, 9), st.integers(0, 99))
def test_periods_share_out_all_blocks(days, count, seed):
    day = np.random.default_rng(seed).permutation(np.repeat(np.arange(days), 3))
    found = cut(day, count)
    if min(count, days//LEAST_BLOCKS) < 2:
        assert found == []
        return
    assert len(found) == min(count, days//LEAST_BLOCKS) and (np.sum([rows for _, rows in found], axis=0) == 1).all()
    for (_, before), (_, after) in zip(found, found[1:], strict=False): assert day[before].max() < day[after].min()
    assert all(len(np.unique(day[rows])) >= LEAST_BLOCKS for _, rows in found) and np.ptp([len(np.unique(day[rows])) for _, rows in found]) <= 1


def test_names_of_periods():
    assert [name for name, _ in cut(np.repeat([f"2013-10-{d:02}" for d in range(1, 32)], 2), 2)] == ["2013-10-01 to 2013-10-16", "2013-10-17 to 2013-10-31"]
    assert [(name, rows.sum()) for name, rows in cut(3000, 3)] == [("rows 1 to 1,000", 1000), ("rows 1,001 to 2,000", 1000), ("rows 2,001 to 3,000", 1000)]
    with pytest.raises(ParameterError, match="0 periods"): cut(100, 0)


@pytest.mark.parametrize("k", [2, 3, 6])
def test_welchs_test_is_that_of_many_groups(k):
    from scipy.stats import f
    rng = np.random.default_rng(k)
    groups = [rng.normal(i/3, 1 + i, 8 + 3*i) for i in range(k)]
    n, mean, variance = (np.array([of(g) for g in groups]) for of in (len, np.mean, lambda g: g.var(ddof=1)))
    w = n/variance                                                     # as in the paper
    top = (w*(mean - (w*mean).sum()/w.sum())**2).sum()/(k - 1)
    rest = ((1 - w/w.sum())**2/(n - 1)).sum()
    expected = f.sf(top/(1 + 2*(k - 2)/(k**2 - 1)*rest), k - 1, (k**2 - 1)/(3*rest))
    assert alike(mean, np.sqrt(variance*(n - 1)/n/n), n) == pytest.approx(expected, rel=2e-3)


def test_what_cannot_be_tested():
    assert alike([.5, None], [.1, .1], [10, 10]) is None and alike([.5, .6], [.1, 0], [10, 10]) is None and alike([.5, .6], [.1, .1], [10, 1]) is None and alike([], [], []) is None


def period(name, value, gap): return Period(name=name, rows=100, blocks=10, metrics={"rmse": Interval(value=value, low=value - .1, high=value + .1), "mae": Interval(value=None, reason="none")}, difference=gap)


def test_sentences_say_which_is_best_whichever_way_is_better():
    found = [period("a", 3., Interval(value=1, low=.5, high=1.5)), period("b", 5., Interval(value=-1, low=-1.5, high=-.5)), period("c", 4., Interval(value=0, low=-.5, high=.5))]
    own, gaps = sentences(found, {"metric": .001, "difference": .2}, "rmse", "opponent")
    assert own == "Over the 3 periods the challenger's RMSE differs more than chance lets expect (p = 0.001): best a (3.000), worst b (5.000)."
    assert gaps == "Against the opponent it is clearly better in 1, clearly worse in 1, open in 1 of 3, and the difference varies no more than chance lets expect (p = 0.200)."
    assert sentences(found, {"metric": .5, "difference": None}, "rmse", "opponent")[0].endswith("no more than chance lets expect (p = 0.500).")
    short = [Period(name="a", rows=3, blocks=3, metrics={"rmse": Interval(value=1)})]
    assert sentences(short, {"metric": None}, "rmse") == ["The periods are too short to be compared."]
    for periods, against in ((found, "opponent"), (short, "")):
        page = display_periods([p.model_copy(update={"name": "<b>" + p.name}) for p in periods], {"metric": None, "difference": None}, "rmse", Interval(value=None), against)
        assert "<b>" not in page and "There is no interval on all rows" in page


def window(seed, days=48, gone=0.0):
    "Two models over some days; from the middle on the second one is worse by `gone`."
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), 15)
    signal, mood = rng.normal(size=len(day)), rng.normal(0, .5, days)[day]
    chance = lambda z: 1/(1 + np.exp(-z))
    y = rng.random(len(day)) < chance(1.2*signal + mood - 1)
    return y, {"challenger": chance(1.2*signal - 1), "opponent": chance(signal + (.4 + gone*(day > days//2))*rng.normal(size=len(day)) - 1)}, day


@pytest.mark.slow
def test_how_often_periods_are_called_different():
    def told(gone, windows):
        found = []
        for seed in range(windows):
            y, scores, day = window(seed, gone=gone)
            _, steady = judged(cut(day, 4), y, scores, {"challenger": .5, "opponent": .5}, day, metrics=["roc_auc"], resamples=200, seed=seed)
            found.append([steady["metric"] < .05, steady["difference"] < .05])
        return np.mean(found, axis=0)
    wrong, right = told(0, 200), told(3, 40)
    assert wrong.max() < .09 and right[1] > .8, (wrong, right)
