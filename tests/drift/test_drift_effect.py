"The effect and its two tests: bounds, bias, dependence, and a light simulation of how often they are wrong."
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_ops.drift.effect import FEWEST_ROWS, Window, assess, bias, coarse, excess, gap, growth, holm, least_bias, likeness, noise, slip
from model_ops.errors import ParameterError
from scipy import stats
from scipy.special import ndtr, ndtri

few = settings(deadline=None, max_examples=60)
SHARES = np.diff([0, 0.01, *np.arange(5, 100, 5)/100, 0.99, 1])
LEVELS = np.r_[0, np.cumsum(SHARES)].clip(0, 1)


def moved(by: float, spread: float = 1.0) -> np.ndarray:
    return np.diff(ndtr(ndtri(LEVELS)*spread - by))


def days(rng, n, like_before):
    x = rng.normal(size=n)
    for t in range(1, n): x[t] = like_before*x[t - 1] + np.sqrt(1 - like_before**2)*x[t]
    return x


@few
@given(st.integers(2, 10).flatmap(lambda k: st.tuples(*[st.lists(st.integers(0, 2_000), min_size=k, max_size=k)]*2)), st.booleans(), st.sampled_from([0.01, 0.05, 0.3]))
def test_bounds_hold_together(pair, ordered, margin):
    windows = [Window(np.array([c])) for c in pair]
    if not all(w.rows for w in windows): return
    e = assess(*windows, margin, ordered)
    assert 0 <= e.low <= e.effect <= e.high <= 1 and e.effect <= e.fine.total + 1e-12
    if min(w.rows for w in windows) < FEWEST_ROWS: assert e.p_drifted is None and e.p_stable is None
    else: assert 0 <= e.p_drifted <= 1 and 0 <= e.p_stable <= 1 and not (e.p_drifted < 0.05 and e.p_stable < 0.05)


@few
@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_is_the_step_down_procedure(p):
    adjusted = holm(p)
    assert len(adjusted) == len(p) and all(a >= x for a, x in zip(adjusted, p, strict=True))
    for level in (0.01, 0.05, 0.5):
        rejected, order = set(), np.argsort(p, kind="stable")
        for step, i in enumerate(order):
            if p[i]*(len(p) - step) > level: break
            rejected.add(i)
        assert {i for i, a in enumerate(adjusted) if a <= level} == rejected


@few
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 100)), max_size=12), st.sampled_from([0.01, 0.05, 0.5]))
def test_weighted_holm_is_the_weighted_step_down_procedure(family, level):
    p, weights = [x for x, _ in family], [w for _, w in family]
    rejected, left = set(), set(range(len(p)))
    while left:  # the smallest p per weight goes next, against its share of the level
        i = min(left, key=lambda i: p[i]/weights[i])
        if p[i] > level*weights[i]/sum(weights[j] for j in left)*(1 + 1e-9): break
        rejected.add(i); left.discard(i)
    assert {i for i, a in enumerate(holm(p, weights)) if a <= level*(1 + 1e-9)} == rejected


@few
@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.1, 10))
def test_equal_weights_change_nothing(p, weight):
    assert holm(p, [weight]*len(p)) == pytest.approx(holm(p))


def test_what_was_not_tested_still_weighs():
    assert holm([0.01, float("nan")])[0] == 0.02 and np.isnan(holm([0.01, float("nan")])[1])
    for weights in ([1.0], [1.0, 0.0], [1.0, float("inf")]):
        with pytest.raises(ParameterError): holm([0.1, 0.2], weights)


def test_excess_is_that_of_a_folded_normal():
    for x in (0.0, 0.3, 1.0, 2.5): assert excess(np.array([x]))[0] == pytest.approx(stats.foldnorm(x).mean() - x, abs=1e-9)
    assert bias(np.array([0.0]), np.array([0.0])) == 0


@few
@given(st.floats(0, 0.5), st.floats(0.001, 1))
def test_the_least_bias_is_that_of_differences_in_proportion(total, errors):
    assert least_bias(total, errors) == pytest.approx(errors/2*excess(np.array([2*total/errors]))[0], abs=1e-9)
    assert 0 <= least_bias(total, errors) <= least_bias(0, errors) and total + least_bias(total, errors) <= total + 0.01 + least_bias(total + 0.01, errors) + 1e-12


@few
@given(st.lists(st.integers(0, 2_000), min_size=3, max_size=12).filter(lambda c: sum(c) > 60), st.integers(0, 10**6))
def test_stable_and_the_upper_bound_agree(counts, seed):
    rng = np.random.default_rng(seed)
    e = assess(Window(np.array([counts])), Window(rng.multinomial(sum(counts), np.array(counts)/sum(counts))[None]), 0.05)
    if abs(e.p_stable - 0.05) > 0.01 and e.high > e.effect: assert (e.p_stable < 0.05) == (e.high < 0.05)


def test_what_slips_is_taken_off_the_effect():
    assert slip(np.array([50, 12, 10]), 100) == 2*2/100 and slip(np.array([60, 40]), 100) == 0 == slip(np.array([]), 10)
    rng, shares = np.random.default_rng(9), (lambda w: w/w.sum())(1/np.arange(1, 101))
    was, now = (rng.multinomial(2_000, s) for s in (shares, shares + 0.1*(np.arange(100) == 1) - 0.1*(np.arange(100) == 0)))
    windows = [Window(np.r_[c[was < 10].sum(), c[was >= 10]][None]) for c in (was, now)]
    plain, corrected = (assess(*windows, 0.03, False, slipped=s) for s in (0.0, slip(was[was >= 10], 2_000)))
    assert corrected.effect < plain.effect and corrected.p_drifted > plain.p_drifted and corrected.p_stable == plain.p_stable


def test_cells_are_put_together_only_where_rows_are_few():
    for rows, least, most in ((200, 4, 5), (2_000, 4, 6), (200_000, 22, 22)):
        w = Window((SHARES*rows).round().astype(int)[None])
        sets = coarse(w, w, 0.05)
        assert least <= sets.shape[1] <= most and (sets.sum(axis=1) == 1).all()


def test_cells_that_the_reference_never_had_stay_apart():
    reference, current = Window(np.array([[0, *[50]*20, 0]])), Window(np.array([[40, *[46]*20, 40]]))
    sets = coarse(reference, current, 0.05)
    assert sets.shape[1] == 5 and sets[0].tolist() == sets[-1].tolist() and sets[0].sum() == sets[1].sum() == 1 and sets[0].tolist() != sets[1].tolist()


def test_nothing_seen_in_few_rows_proves_nothing():
    none = Window(np.array([[0, 60]]))
    assert assess(none, none, 0.02, False).p_stable > 0.05
    none = Window(np.array([[0, 2_000]]))
    assert assess(none, none, 0.02, False).p_stable < 0.001


def test_chunks_that_swing_are_worth_less_than_their_rows():
    rng = np.random.default_rng(0)
    calm, wild = (np.array([rng.multinomial(1_000, moved(size*d)) for d in rng.normal(size=60)]) for size in (0, 0.5))
    by_row = gap(Window(wild.sum(axis=0)[None]), Window(wild.sum(axis=0)[None]), 0.05, SHARES.cumsum() <= 0.5)
    by_chunk = [gap(Window(c, True), Window(c, True), 0.05, SHARES.cumsum() <= 0.5) for c in (calm, wild)]
    assert by_chunk[1].error > 5*by_row.error and by_chunk[0].error < 1.6*by_row.error


def test_few_effective_chunks_abstain():
    counts = np.tile((SHARES*1_000).round().astype(int), (60, 1))
    assert assess(Window(counts, True), Window(counts[:3], True), 0.05).p_drifted is None
    assert assess(Window(counts, True), Window(counts[:30], True), 0.05).p_stable < 0.05
    trend = np.array([np.random.default_rng(t).multinomial(1_000, moved(t/20)) for t in range(40)])
    e = assess(Window(counts, True), Window(trend, True), 0.05)
    assert e.effective < 8 and (e.p_drifted is None or e.p_stable > 0.05)


def test_one_window_with_time_and_one_without():
    rng = np.random.default_rng(1)
    reference = Window(np.array([rng.multinomial(500, SHARES) for _ in range(40)]), True)
    e = assess(reference, Window(rng.multinomial(20_000, moved(0.5))[None]), 0.05)
    assert e.p_drifted < 1e-3 and np.isfinite(e.effective)


def test_likeness_finds_the_correlation():
    rng = np.random.default_rng(2)
    series = np.column_stack([days(rng, 400, r) for r in (0.0, 0.6)])
    found, variance = likeness([series - series.mean(axis=0)])
    assert found[0] < 0.2 and 0.5 < found[1] < 0.8 and (variance > 0).all()
    both = noise([Window(np.array([rng.multinomial(100, [0.5, 0.5]) for _ in range(30)]), True)]*2, np.eye(2))
    assert (both[0].both_freedom > both[0].own_freedom).all()


def test_next_to_the_margin_no_number_of_rows_is_named():
    w = Window(np.array([[50_000, 50_000]]))
    assert growth(assess(w, Window(np.array([[52_990, 47_010]])), 0.03, False), 0.05) is None
    assert growth(assess(Window(np.array([[100, 100]])), Window(np.array([[104, 96]])), 0.03, False), 0.05) > 10


@pytest.mark.parametrize("rows", [200, 2_000, 20_000])
def test_light_calibration_of_independent_rows(rows):
    rng = np.random.default_rng(rows)
    by = 2*ndtri(0.525)  # a shift with a total variation of 0.05
    at_margin = [assess(*(Window(rng.multinomial(rows, s)[None]) for s in (SHARES, moved(by))), 0.05) for _ in range(200)]
    assert np.mean([e.p_drifted <= 0.05 for e in at_margin]) <= 0.05 and np.mean([e.p_stable <= 0.05 for e in at_margin]) <= 0.05
    still = [assess(*(Window(rng.multinomial(rows, SHARES)[None]) for _ in range(2)), 0.05) for _ in range(200)]
    assert not any(e.p_drifted <= 0.05/30 for e in still) and np.mean([e.effect for e in still]) < 0.02
    if rows == 20_000: assert np.mean([e.p_stable <= 0.05 for e in still]) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("like_before", [0.0, 0.6, 0.8])
def test_light_calibration_by_day(like_before):
    rng, size = np.random.default_rng(7), 0.2
    spread = np.sqrt(1 + size**2)
    by = 2*ndtri(0.525)*spread
    made = lambda n, shift: Window(np.array([rng.multinomial(500, moved(d, spread)) for d in shift + size*days(rng, n, like_before)]), True)
    at_margin = [assess(made(90, 0), made(30, by), 0.05) for _ in range(300)]
    able = [e for e in at_margin if e.p_drifted is not None]
    assert sum(e.p_drifted <= 0.05 for e in able) <= 24 and sum(e.p_stable <= 0.05 for e in able) <= 24  # 15 expected at most; 24 is two standard errors more
    still = [assess(made(90, 0), made(30, 0), 0.05) for _ in range(300)]
    assert sum(e.p_drifted is not None and e.p_drifted <= 0.05/30 for e in still) <= 1
