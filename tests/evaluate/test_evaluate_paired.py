"""Paired comparisons: McNemar against what it is made of, Student's t on the bootstrap's error, and how often both are wrong."""
import subprocess, sys
from dataclasses import replace
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from model_ops.errors import DataError
from model_ops.evaluate import paired
from model_ops.evaluate.intervals import Interval, bootstrap, draw
from model_ops.evaluate.metrics import METRICS
from model_ops.evaluate.paired import clusters_of, mcnemar
from model_ops.evaluate.studentized import reach, studentized


def table(b, c, both, neither):
    "Calls of two models: b rows right by the first alone, c by the second alone."
    first, second = np.repeat([0, 1, 0, 1], [b, c, both, neither]), np.repeat([1, 0, 0, 1], [b, c, both, neither])
    return np.zeros(b + c + both + neither, dtype=int), first, second


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 50), st.integers(0, 50))
def test_mid_p_of_mcnemar_is_the_binomial_one(b, c, both, neither):
    from scipy.stats import binom
    if not b + c + both + neither: return
    found = mcnemar(*table(b, c, both, neither))
    exact = 2*(binom.cdf(min(b, c), b + c, .5) - binom.pmf(min(b, c), b + c, .5)/2)
    assert np.isclose(found["p"], min(1, exact)) and (found["b"], found["c"]) == (b, c) and found["low"] <= found["high"]
    other = mcnemar(*(np.array(part) for part in (table(b, c, both, neither)[0], *table(b, c, both, neither)[:0:-1])))
    assert np.isclose(other["value"], -found["value"]) and np.isclose(other["low"], -found["high"]) and np.isclose(other["p"], found["p"])


def test_the_interval_of_bonett_and_price():
    found = mcnemar(*table(40, 20, 900, 40))  # by hand: 41/1002, 21/1002
    a, c = 41/1002, 21/1002
    assert np.isclose(found["high"] - found["low"], 2*1.959964*np.sqrt((a + c - (a - c)**2)/1002)) and np.isclose(found["high"] + found["low"], 2*(a - c))


def test_clusters_that_repeat_a_row_know_no_more_than_the_row():
    y, first, second = table(40, 20, 900, 40)
    alone, repeated = (mcnemar(*(np.repeat(part, times) for part in (y, first, second)), np.repeat(np.arange(1000), times)) for times in (1, 7))
    assert all(np.isclose(alone[key], repeated[key]) for key in ("value", "low", "high", "p")) and abs(alone["low"] - mcnemar(y, first, second)["low"]) < 3e-4


@pytest.mark.parametrize(("y", "a", "b", "clusters", "told"), [([0, 1], [0, 1], [0], None, "shape"), ([], [], [], None, "shape"), ([0, 1], [0, 1], [0, 1], [0, 0], "one cluster"), ([0, 1], [0, 1], [0, 1], [0], "shape")])
def test_calls_that_do_not_fit(y, a, b, clusters, told):
    with pytest.raises(DataError, match=told): mcnemar(y, a, b, clusters)


def test_which_rows_belong_together():
    assert clusters_of(draw(100)) is None and clusters_of(draw(5000)) is None
    days = draw(310, np.arange(310)//10)
    assert days.run == 3 and np.bincount(clusters_of(days)).tolist() == [30]*9 + [40]
    assert clusters_of(draw(310, np.arange(310))).max() + 1 == 310//7  # a block a row is still a block: neighbours are drawn together


def scored(n=1200, seed=0):
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=n)
    return (rng.random(n) < 1/(1 + np.exp(-signal))).astype(int), {m: signal + noise*rng.normal(size=n) for m, noise in (("challenger", .4), ("opponent", .9), ("dummy", 9))}


def test_the_tests_of_each_task():
    y, scores = scored()
    zero, alone = dict.fromkeys(scores, 0.), draw(1200)
    found = paired.tests(y, scores, zero, alone)
    assert {other: [t.name for t in made] for other, made in found.items()} == {"opponent": ["DeLong", "McNemar"], "dummy": ["DeLong", "McNemar"]}
    assert [t.decides for t in found["opponent"]] == [True, False] and all(t.low < t.value < t.high and t.p < .01 for t in found["dummy"])
    several = {m: np.stack([s*0, s, -s], axis=1) for m, s in scores.items()}
    assert [t.metric for t in paired.tests(y, several, {}, alone, task="multiclass")["opponent"]] == ["accuracy"]
    assert paired.tests(y, scores, {}, alone, task="regression") == {"opponent": [], "dummy": []}
    wide, narrow = (paired.tests(y, scores, zero, alone, level=level)["opponent"][0] for level in (.999, .9))
    assert wide.low < narrow.low < narrow.high < wide.high and wide.p == narrow.p


def test_by_days_and_by_too_few_days():
    y, scores = scored()
    zero = dict.fromkeys(scores, 0.)
    by_day, few = (paired.tests(y, scores, zero, draw(1200, np.arange(1200)*days//1200))["opponent"] for days in (31, 9))
    assert not any(t.decides for t in by_day) and all("10 runs" in t.note and t.low is not None for t in by_day)
    assert all(t.low is None and t.p is None and t.note == "9 days; at least 10 are needed for an interval" for t in few)
    one = paired.tests(np.ones(1200, int), scores, zero, draw(1200))["opponent"]
    assert one[0].value is None and "0 negative" in one[0].note and one[1].low is not None


def test_studentized_says_why_there_is_no_interval():
    draws = np.random.default_rng(0).normal(.1, .01, 1000)
    assert studentized(.1, draws, 9) == Interval(value=.1, reason="9 days; at least 10 are needed for an interval")
    assert studentized(.1, np.where(np.arange(1000) < 60, np.nan, draws), 40).reason == "undefined in 6% of the resamples" and studentized(.1, np.where(np.arange(1000) < 40, np.nan, draws), 40).low is not None
    assert studentized(float("nan"), draws, 40) == Interval(value=None, reason="undefined on these rows") and studentized(0., 0*draws, 40) == Interval(value=0, low=0, high=0)


@pytest.mark.parametrize(("level", "runs", "times"), [(.95, 400, 1.9684), (.95, 10, 2.3845), (1 - .1/30, 10, 4.1681), (1 - 2*.0005, 10, 5.0396)])
def test_how_far_it_reaches(level, runs, times):
    from scipy.stats import t
    half = np.random.default_rng(0).normal(size=500)
    draws = np.r_[half, -half]/np.std(np.r_[half, -half])  # they do not lean
    assert np.allclose(reach(draws, runs, level), t.ppf((1 + level)/2, runs - 1)*np.sqrt(runs/(runs - 1))) and np.isclose(reach(draws, runs, level)[0], times, atol=1e-3)


def test_it_reaches_further_where_draws_lean_and_nowhere_less():
    draws = np.random.default_rng(0).gamma(9, size=1000)
    below, above = reach(draws, 400)
    assert np.isclose(above, 1.9684*draws.std(), rtol=1e-3) and 1.3 < below/above < 1.7 and np.allclose(reach(-draws, 400), (above, below))


def test_studentized_can_be_imported_first():
    code = "from model_ops.evaluate.studentized import studentized; import sys; assert 'model_ops.evaluate.intervals' not in sys.modules; from model_ops.evaluate.paired import tests; import numpy as np; print(studentized(1., np.ones(9), 10).low)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "1.0"


def rates(blocked, task, names, rounds=400, levels=(.95, 1 - .1/30)):
    "The share of rounds in which the interval lies above the true difference: 0, since both models are equally good."
    passed = dict.fromkeys([(name, level) for name in names for level in levels], 0)
    days = 31 if blocked else 600
    for seed in range(rounds):
        rng = np.random.default_rng([seed, blocked])
        day = np.repeat(np.arange(days), 30) if blocked else np.arange(days)
        n, effect = len(day), lambda size: size*blocked*rng.normal(size=days)[day]  # noqa: B023
        signal, lean = rng.normal(size=n), effect(.5)
        if task == "binary": y, scores = rng.random(n) < 1/(1 + np.exp(1 - 1.2*signal - lean)), {m: 1/(1 + np.exp(1 - 1.2*(signal + .6*rng.normal(size=n) + effect(.25)))) for m in "ab"}
        else: y, scores = 3*signal, {m: 3*signal + rng.normal(size=n) + effect(.4) for m in "ab"}
        drawn = draw(n, day if blocked else None, resamples=1000, seed=seed)
        drawn = drawn if blocked else replace(drawn, block=np.arange(n) % 100, weights=np.random.default_rng(seed).multinomial(100, np.full(100, .01), 1000).astype(float))  # fewer blocks are faster
        found = bootstrap(y, scores, dict.fromkeys(scores, .5), drawn, metrics=names, task=task)
        for name, level in passed:
            value, draws = (METRICS[name].sign*(of["a"][name] - of["b"][name]) for of in (found.values, found.draws))
            passed[name, level] += studentized(value, draws, found.blocks, found.run, level=level).low > 0
    return {key: count/rounds for key, count in passed.items()}


@pytest.mark.slow
@pytest.mark.parametrize(("task", "names"), [("binary", ["roc_auc", "log_loss", "accuracy"]), ("regression", ["rmse"])])
@pytest.mark.parametrize("blocked", [True, False], ids=["days", "rows"])
def test_the_tail_holds_its_rate_at_any_level(blocked, task, names):
    found = rates(blocked, task, names)
    for name in names:
        assert found[name, .95] <= .045, found           # 2.5 % is allowed; 400 rounds show it as 1 to 4 %
        assert found[name, 1 - .1/30] <= .0075, found    # 0.17 %
