"""How much data would settle a question: the formula, its limits, and drawing windows of the size that it names."""
import math
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from model_ops.evaluate.power import needed, times_needed


@settings(deadline=None, max_examples=100)
@given(st.floats(.001, 1), st.floats(.001, 10), st.integers(10, 1000))
def test_a_wider_interval_needs_more_and_more_power_too(room, reach, runs):
    found = times_needed(room, reach, runs)
    assert found > 0 and times_needed(room, 2*reach, runs) > found and times_needed(room, reach, runs, power=.9) > found > times_needed(room, reach, runs, power=.6)
    assert math.isclose(times_needed(2*room, 2*reach, runs), found, rel_tol=1e-9)


def test_the_textbook_figure():
    "With many rows: ((1.96 + 0.84)/1.96)² for an interval that just touches its bound."
    assert math.isclose(times_needed(1, 1), ((1.959964 + .841621)/1.959964)**2, rel_tol=1e-4)
    assert math.isclose(times_needed(1, 3, level=.99), (3*(2.575829 + .841621)/2.575829)**2, rel_tol=1e-4)


@pytest.mark.parametrize(("told", "said"), [
    ({"rows": 24_000, "blocks": 31, "unit": "days", "run": 3}, "About 63,000 rows (82 days) of test data instead of 24,000 (31) would"), ({"rows": 24_000}, "About 77,000 rows of test data instead of 24,000 would"), ({"rows": 24_000, "blocks": 24_000, "unit": "rows"}, "About 77,000 rows of test data instead of 24,000 would"),
    ({}, "About 3.2 times as much")])
def test_in_words(told, said): assert said in needed(.004, .005, **told).sentence and "80 % probability" in needed(.004, .005, **told).sentence


def test_what_no_data_would_settle():
    assert needed(-.1, .5, 100).rows is None and "would not help" in needed(-.1, .5, 100).sentence and math.isinf(times_needed(0, 1))
    assert "More than 1,000 times" in needed(1e-5, .5, 100).sentence
    assert needed(.5, .4, 3).rows >= 4 and needed(1, .001).sentence.startswith("About 1.1 times")


@pytest.mark.slow
@pytest.mark.parametrize("days", [12, 31])
def test_windows_of_that_size_settle_four_in_five(days):
    from model_ops.evaluate.studentized import studentized
    rng, gap = np.random.default_rng(0), .35

    def judged(count):
        window = rng.normal(gap, 1, count)
        return studentized(window.mean(), window[rng.integers(0, count, (400, count))].mean(axis=1), count)

    told = needed(gap, np.mean([(found := judged(days)).value - found.low for _ in range(200)]), days*50, days, "days")
    settled = np.mean([judged(told.blocks).low > 0 for _ in range(1000)])
    assert .74 < settled < .87, settled
