"""Features of pure noise: the best score of a search looks better than chance, and what is said beside it does not."""
import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

from model_ops.train.search import search

ROUNDS = 24


def noise(round: int, nested: str, trials: int, folder) -> tuple[float, float, bool]:
    "The best mean, what is said beside it, and whether its interval holds the truth, a ROC AUC of 0.5."
    rng = np.random.default_rng([7, round])
    X, y = rng.normal(size=(400, 5)).astype(np.float32), rng.integers(0, 2, 400)
    told = {"method": "random", "trials": trials, "metric": "roc_auc", "folds": 3, "prune": False, "nested": nested, "families": {"tree": {"random_state": {"low": 0, "high": 10_000}, "max_depth": {"low": 1, "high": 5}}}}
    found = search(told, lambda family, params: DecisionTreeClassifier(max_features=1, **params), X, y, task="binary", ordered=False, journal=folder/f"{round}.jsonl", seed=round, cost=lambda model: {})
    o = found.optimism
    return found.winner.mean, o.value, o.low <= 0.5 <= o.high


@pytest.mark.slow
@pytest.mark.parametrize(("nested", "trials", "rounds"), [("holdout", 25, ROUNDS), ("nested", 12, ROUNDS//2)])
def test_the_best_of_many_is_lucky_and_the_held_out_score_is_not(nested, trials, rounds, tmp_path):
    best, said, held = map(np.array, zip(*(noise(r, nested, trials, tmp_path) for r in range(rounds)), strict=True))
    error = lambda values: values.std(ddof=1)/np.sqrt(rounds)
    assert best.mean() - 0.5 > 5*error(best) and best.mean() > 0.53  # luck, and nothing else
    assert abs(said.mean() - 0.5) < 2.5*error(said) and error(said) < 0.02
    if nested == "holdout": assert held.mean() > 0.8
