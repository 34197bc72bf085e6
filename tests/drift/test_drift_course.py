"The course: bands, runs, chance, and a light simulation of its false alarms."
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_ops.drift.course import chance, course, lone, pooled_likeness, scatter, worth
from model_ops.drift.effect import Window
from scipy.special import ndtr, ndtri

few = settings(deadline=None, max_examples=50)
LEVELS = np.array([0, 0.01, *np.arange(5, 100, 5)/100, 0.99, 1])


def window(rng, means, rows=500):
    rows = np.broadcast_to(rows, len(means))
    return Window(np.array([rng.multinomial(n, np.diff(ndtr(ndtri(LEVELS) - m))) for n, m in zip(rows, means, strict=True)]), True)


def days(rng, n, like_before):
    x = rng.normal(size=n)
    for t in range(1, n): x[t] = like_before*x[t - 1] + np.sqrt(1 - like_before**2)*x[t]
    return x


def test_chance_counts_orders():
    reference, run, beyond = 5, 2, 1
    places = list(combinations(range(reference + run), run))  # where the run's chunks stand among all, the farthest first
    assert chance(run, reference, beyond) == pytest.approx(np.mean([max(p) < run + beyond for p in places]))
    assert chance(4, 60, 0) == pytest.approx(1/comb(64, 4))


@few
@given(st.floats(1, 100), st.floats(0, 0.97))
def test_worth_is_at_least_one_and_at_most_the_chunks(chunks, like_before):
    assert 1 - 1e-9 <= worth(chunks, like_before) <= chunks + 1e-9


def test_a_deeper_run_is_less_probable_but_never_less_than_a_lone_shock():
    rng = np.random.default_rng(7)
    before = window(rng, 0.1*days(rng, 60, 0.6))
    p = [course(before, window(rng, by*(np.arange(30) >= 20)), 0.05).p[22] for by in (0.4, 0.8, 1.6)]
    assert p[0] > p[1] > p[2]
    assert lone(1, 5, 0.6) == 0 and lone(2, 1, 0.6) == pytest.approx(0.025) and lone(4, 3, 0.5) == pytest.approx(0.1/16**2)


def test_worth_is_that_of_a_mean():
    rng = np.random.default_rng(0)
    means = np.array([days(rng, 12, 0.6).mean() for _ in range(4_000)])
    assert worth(12, 0.6) == pytest.approx(1/means.var(), rel=0.08)


@few
@given(st.lists(st.integers(0, 200), min_size=2, max_size=8).filter(lambda c: sum(c) > 0))
def test_scatter_is_a_mean_and_a_mean_square(counts):
    mean, square = scatter(np.array(counts)/sum(counts))
    assert 0 <= mean**2 <= square + 1e-12


@few
@given(st.integers(0, 12), st.integers(1, 20), st.integers(2, 6), st.booleans(), st.integers(0, 10**6))
def test_any_counts_give_a_course_or_none(reference, current, cells, ordered, seed):
    rng = np.random.default_rng(seed)
    made = lambda n: Window(rng.poisson(rng.choice([0, 3, 40], size=(n, cells))), True)
    was, now = made(reference), made(current)
    c = course(was, now, 0.05, ordered)
    if c is None: assert (was.counts.sum(axis=1) >= 30).sum() < 8; return
    assert len(c.reference) == len(c.reference_limit) == reference and len(c.current) == len(c.limit) == len(c.p) == current
    tested = now.counts.sum(axis=1) >= 30
    assert (np.isnan(c.p) == ~tested).all() and (np.isnan(c.current) == ~tested).all()
    assert ((c.p[tested] >= 0) & (c.p[tested] <= 1)).all() and not c.outside(0.9)[~tested].any() and 0 <= c.since < current
    assert (c.p[tested][c.current[tested] <= c.limit[tested]] == 1).all()
    assert c.first(0) is None or c.outside(0)[c.first(0)]


def test_nine_of_ten_reference_chunks_lie_in_the_band():
    rng = np.random.default_rng(1)
    rows = rng.integers(100, 3_000, 80)
    c = course(window(rng, 0.1*rng.normal(size=80), rows), window(rng, np.zeros(5)), 0.05)
    assert (c.reference > c.reference_limit + 1e-12).sum() == 8
    assert np.corrcoef(rows, c.reference_limit)[0, 1] < -0.5


def test_a_lasting_change_is_found_where_it_began():
    rng = np.random.default_rng(2)
    found = [course(window(rng, 0.1*rng.normal(size=60)), window(rng, 0.1*rng.normal(size=30) + 0.5*(np.arange(30) >= 12)), 0.05) for _ in range(20)]
    assert sum(c.first(1e-5) in (10, 11, 12, 13) for c in found) >= 16
    assert all(abs(c.since - 12) <= 1 for c in found)


def test_one_bad_day_and_days_that_stray_to_both_sides_are_no_run():
    rng = np.random.default_rng(3)
    before = window(rng, 0.05*rng.normal(size=60), 2_000)
    bad = course(before, window(rng, 2.0*(np.arange(30) == 12), 2_000), 0.05)
    assert bad.first(1e-4) is None and bad.current[12] > 2*bad.limit[12]
    both_ways = course(before, window(rng, 0.25*(-1.0)**np.arange(30)*(np.arange(30) >= 12), 2_000), 0.05)
    assert both_ways.first(1e-4) is None and (both_ways.current > both_ways.limit)[12:].all()


def test_a_change_within_the_margin_is_none():
    rng = np.random.default_rng(4)
    c = course(window(rng, np.zeros(60), 20_000), window(rng, np.full(30, 0.1), 20_000), 0.05)
    assert (c.current > c.limit).all() and c.first(0.05) is None


def test_few_rows_are_skipped_and_few_chunks_are_no_band():
    rng = np.random.default_rng(5)
    rows = np.where(np.arange(30) % 3 == 0, 20, 500)
    c = course(window(rng, np.zeros(60)), window(rng, 0.7*(np.arange(30) >= 14), rows), 0.05)
    assert c.first(1e-4) == 14 and np.isnan(c.p[15]) and not c.outside(1e-4)[15] and c.outside(1e-4)[16]
    assert course(window(rng, np.zeros(7)), window(rng, np.zeros(30)), 0.05) is None
    assert course(window(rng, np.zeros(30), 29), window(rng, np.zeros(30)), 0.05) is None


def test_constant_columns_have_a_course():
    constant = Window(np.full((20, 1), 100), True)
    c = course(constant, constant, 0.05)
    assert (c.current == 0).all() and c.first(0.99) is None
    unseen = Window(np.tile([[0, 100]], (20, 1)), True)
    assert course(Window(np.tile([[100, 0]], (20, 1)), True), unseen, 0.03, False).first(0.01) == 0


def test_likeness_sees_slow_movement_under_noise():
    rng = np.random.default_rng(6)
    slow = days(rng, 2_000, 0.8)[:, None]
    assert pooled_likeness(rng.normal(size=(2_000, 1))) < 0.2 and 0.75 < pooled_likeness(slow) < 0.92 and pooled_likeness(slow + rng.normal(size=slow.shape)) > 0.6


@pytest.mark.slow
@pytest.mark.parametrize(("like_before", "heavy"), [(0.0, False), (0.8, False), (0.0, True), (0.6, True)])
def test_light_calibration(like_before, heavy):
    rng = np.random.default_rng(8)
    scale = lambda: rng.standard_t(3, size=()) if heavy else 1.0
    lowest = []
    for _ in range(400):
        was, now = (window(rng, 0.1*days(rng, n, like_before)*(1 if not heavy else abs(np.array([scale() for _ in range(n)])))) for n in (60, 30))
        lowest.append(np.nanmin(course(was, now, 0.05).p))
    assert np.mean(np.array(lowest)*30 <= 0.05) <= 0.05
