"""DeLong: against brute force over all pairs, published examples, and its own rate of false findings."""
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from model_ops.errors import DataError
from model_ops.evaluate.delong import delong, rightly_ordered

# DeLong, DeLong & Clarke-Pearson 1988, the 43 complete patients: order of albumin (low is bad), K-G score, and whether surgery did not help.
ALBUMIN = [9, 11, 17, 7, 11, 0, 5, 1, 16, 15, 11, 16, 19, 14, 21, 14, 4, 20, 18, 13, 16, 9, 22, 15, 10, 19, 21, 21, 11, 6, 12, 2, 15, 12, 20, 13, 8, 3, 7, 18, 12, 15, 14]
SCORE = [10, 5, 3, 6, 3, 5, 8, 5, 5, 6, 4, 6, 5, 5, 4, 4, 6, 4, 6, 6, 7, 8, 5, 5, 6, 6, 5, 4, 5, 6, 6, 7, 5, 7, 6, 5, 9, 7, 8, 7, 6, 5, 5]
NO_HELP = [1, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]


def brute(y, scores, clusters):
    "AUCs and their covariance from all pairs: DeLong's structural components, summed by cluster as Obuchowski 1997 does."
    y, clusters = np.asarray(y, dtype=bool), np.asarray(clusters)
    wins = np.array([(s[y][:, None] > s[~y]) + (s[y][:, None] == s[~y])/2 for s in map(np.asarray, scores)])  # [models, positive, negative]
    auc, (m, n) = wins.mean(axis=(1, 2)), (y.sum(), (~y).sum())
    parts = wins.mean(axis=2) - auc[:, None], wins.mean(axis=1) - auc[:, None]
    covariance, k = np.zeros((len(scores), len(scores))), len(set(clusters))
    for i in range(len(scores)):
        for j in range(len(scores)):
            for cluster in sorted(set(clusters)):
                (ai, bi), (aj, bj) = (tuple(part[model][clusters[of] == cluster].sum() for part, of in zip(parts, (y, ~y), strict=True)) for model in (i, j))
                i10, i01 = len(set(clusters[y])), len(set(clusters[~y]))
                covariance[i, j] += i10/(i10 - 1)*ai*aj/m**2 + i01/(i01 - 1)*bi*bj/n**2 + k/(k - 1)*(ai*bj + bi*aj)/(m*n)
    return auc, covariance


rounded = st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 5), st.integers(0, 4)), min_size=12, max_size=40)


@settings(deadline=None, max_examples=100)
@given(rounded)
def test_it_is_what_all_pairs_give(rows):
    rows = rows + [(True, 1, 2, 0), (True, 3, 2, 1), (False, 1, 1, 0), (False, 4, 0, 1)]  # both classes in two clusters at least
    y, a, b, clusters = (np.array(part) for part in zip(*rows, strict=True))
    for told, of in ((None, np.arange(len(y))), (clusters, clusters)):
        found, (auc, covariance) = delong(y, a, b, told), brute(y, (a, b), of)
        np.testing.assert_allclose(found.auc, auc, atol=1e-12)
        np.testing.assert_allclose(found.covariance, covariance, atol=1e-12)
        assert np.isclose(found.value, auc[0] - auc[1]) and np.isclose(found.se**2, max(0, covariance[0, 0] + covariance[1, 1] - 2*covariance[0, 1]), atol=1e-12)


def test_the_auc_is_that_of_scikit_learn():
    from sklearn.metrics import roc_auc_score
    rng = np.random.default_rng(0)
    y, score = rng.random(500) < .2, rng.integers(0, 30, 500)
    shares = rightly_ordered(y, score)
    assert np.isclose(delong(y, score).value, roc_auc_score(y, score)) and np.isclose(shares[y].mean(), shares[~y].mean())


def test_the_patients_of_the_paper():
    "As the manual of SAS/STAT prints them for PROC LOGISTIC's ROCCONTRAST: areas, standard errors, difference, its error, interval, chi-squared and p."
    albumin = -np.array(ALBUMIN)
    for score, area, error in ((albumin, .7366, .0927), (SCORE, .7258, .1028)):
        found = delong(NO_HELP, score)
        assert (round(found.value, 4), round(found.se, 4)) == (area, error)
    found = delong(NO_HELP, albumin, SCORE)
    assert [round(v, 4) for v in (found.value, found.se, found.low, found.high, found.z**2, found.p)] == [.0108, .0953, -.1761, .1976, .0127, .9102]


def test_the_images_of_hanley_and_mcneil():
    "109 rated CT images (Radiology 143, 1982); the figures are those of Stata's roctab."
    rating, truth = np.repeat([1, 2, 3, 4, 5]*2, [33, 6, 6, 11, 2, 3, 2, 2, 11, 33]), np.repeat([0, 1], [58, 51])
    found = delong(truth, rating)
    assert (round(found.value, 4), round(found.se, 4), round(found.low, 5), round(found.high, 5)) == (.8932, .0307, .83295, .95339)


def test_students_t_where_one_class_is_rare():
    rng = np.random.default_rng(0)
    y, a, b = np.arange(400) < 8, *rng.normal(size=(2, 400))
    paper, t = delong(y, a, b), delong(y, a, b, normal=False)
    assert np.isinf(paper.df) and 7 <= t.df < 12 and t.se == paper.se and t.low < paper.low < paper.high < t.high and t.p > paper.p
    assert delong(y, a, a, normal=False).p == 1 and delong(y, a, b, np.arange(400) % 40, normal=False).df == 39


def test_one_model_with_itself_and_perfect_models():
    y = np.arange(40) % 2
    same = delong(y, y, y)
    assert (same.value, same.se, same.low, same.high, same.p) == (0, 0, 0, 0, 1) and np.isnan(same.z)
    rng = np.random.default_rng(0)
    score = rng.normal(size=40)
    assert delong(y, score, np.exp(score)).value == 0 == delong(y, score, np.exp(score)).se  # only the order counts


@pytest.mark.parametrize(("y", "clusters", "told"), [([1, 0, 0, 0], None, "1 positive and 3 negative"), ([1, 1, 1, 1], None, "4 positive and 0 negative"), ([1, 1, 0, 0], [0, 0, 1, 2], "in one cluster"), ([1, 1, 0, 0], [0, 1], "shape")])
def test_what_cannot_be_known_is_refused(y, clusters, told):
    with pytest.raises(DataError, match=told): delong(y, [.1, .2, .3, .4], [.4, .3, .2, .1], clusters)


@pytest.mark.parametrize("score", [[.1, .2, .3], [.1, .2, np.nan, .3]])
def test_scores_that_do_not_fit(score):
    with pytest.raises(DataError): delong([0, 1, 0, 1], score)


def windows(rounds, days, rows, effect, seed=0):
    "Equally good models on days that have something in common."
    for i in range(rounds):
        rng = np.random.default_rng([seed, i])
        day = np.repeat(np.arange(days), rows)
        signal, n = rng.normal(size=days*rows), days*rows
        y = rng.random(n) < 1/(1 + np.exp(1 - signal - effect*rng.normal(size=days)[day]))
        yield y, *(signal + rng.normal(size=n) + effect*rng.normal(size=days)[day] for _ in range(2)), day


@pytest.mark.slow
def test_a_95_percent_interval_misses_no_difference_once_in_twenty():
    rows, days = (np.mean([abs((found := delong(y, a, b, day if clustered else None)).value) > found.high - found.value for y, a, b, day in windows(1500, *kind)])
                  for clustered, kind in ((False, (1, 400, 0)), (True, (30, 30, .7))))
    assert .03 < rows < .065 and .03 < days < .065, (rows, days)
    blind = np.mean([delong(y, a, b).p < .05 for y, a, b, _ in windows(300, 30, 100, .7)])
    assert blind > .15, blind  # by rows, days that have something in common look like a difference far too often
