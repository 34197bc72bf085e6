"Distances against SciPy, on counts and on raw data."
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_ops.drift.distance import DISTANCES, chi_square, distances, hellinger, jensen_shannon, kolmogorov_smirnov, pool, psi, total_variation, wasserstein
from model_ops.drift.profile import Profile
from scipy import special, stats
from scipy.spatial.distance import jensenshannon

counts = st.integers(2, 12).flatmap(lambda k: st.tuples(*[st.lists(st.integers(0, 500), min_size=k, max_size=k)]*2))
few = settings(deadline=None, max_examples=60)


@few
@given(counts)
def test_against_scipy_on_shares(pair):
    r, c = map(np.array, pair)
    if not r.sum() or not c.sum():
        assert all(v is None for v in distances(r, c, edges=np.arange(len(r) + 1.0), spread=1.0).values())
        return
    p, q = r/r.sum(), c/c.sum()
    assert total_variation(r, c) == pytest.approx(abs(p - q).sum()/2)
    assert jensen_shannon(r, c) == pytest.approx(jensenshannon(p, q, base=2), abs=1e-7)
    assert hellinger(r, c) == pytest.approx(np.linalg.norm(np.sqrt(p) - np.sqrt(q))/np.sqrt(2), abs=1e-12)
    ps, qs = (r + 0.5)/(r + 0.5).sum(), (c + 0.5)/(c + 0.5).sum()
    assert psi(r, c) == pytest.approx(special.rel_entr(ps, qs).sum() + special.rel_entr(qs, ps).sum(), abs=1e-9)


@few
@given(counts)
def test_ranges_symmetry_and_zero(pair):
    r, c = pair
    if not sum(r) or not sum(c): return
    for label in ("total_variation", "hellinger", "jensen_shannon", "psi", "kolmogorov_smirnov"):
        f = DISTANCES[label].function
        assert f(r, c) == pytest.approx(f(c, r), abs=1e-9) and f(r, r) == pytest.approx(0, abs=1e-9) and f(r, c) >= 0
        if label != "psi": assert f(r, c) <= 1 + 1e-9
    assert kolmogorov_smirnov(r, c) <= total_variation(r, c) + 1e-12


@few
@given(counts)
def test_chi_square_against_scipy(pair):
    table, pooled = pool(*pair)
    found = chi_square(*pair)
    if found is None: return
    expected = stats.chi2_contingency(table, correction=False)
    assert found.statistic == pytest.approx(expected.statistic) and found.freedom == expected.dof and found.p == pytest.approx(expected.pvalue)
    assert table.sum() == sum(pair[0]) + sum(pair[1]) and (pooled == 0 or expected.expected_freq.min() >= 5 - 1e-9)


@pytest.mark.parametrize("draw", [lambda rng, n: rng.normal(size=n), lambda rng, n: rng.lognormal(size=n), lambda rng, n: rng.standard_t(3, size=n), lambda rng, n: rng.poisson(4, size=n).astype(float)])
@pytest.mark.parametrize("shift", [0.0, 0.2, 1.0])
def test_ordered_distances_against_raw_data(draw, shift):
    rng = np.random.default_rng(2)
    a, b = draw(rng, 20_000), draw(rng, 20_000)
    b += shift if (a % 1).any() else np.round(shift)  # whole numbers stay whole: what happens inside a bin is not seen
    reference = Profile.of({"x": a})
    column = reference.columns["x"]
    other = Profile.of({"x": b}, like=reference).columns["x"]
    ends = [min(a.min(), b.min()), *column.edges, max(b.max(), column.edges[-1])]
    tables = [c.table.sum(axis=0)[2:] for c in (column, other)]
    raw = stats.ks_2samp(a, b).statistic
    one_bin = max((t/t.sum()).max() for t in tables)
    assert raw - one_bin - 1e-9 <= kolmogorov_smirnov(*tables) <= raw + 1e-9
    exact = stats.wasserstein_distance(a, b)/a.std()
    assert wasserstein(*tables, ends, column.deviation) == pytest.approx(exact, abs=0.03 + 0.1*exact)


def test_undefined_is_none():
    assert wasserstein([5], [5], [1, 1], spread=0) is None and chi_square([3], [4]) is None and psi([0], [1]) is None
    assert all(d.sentence and d.range and d.unit and d.undefined and d.source for d in DISTANCES.values())
