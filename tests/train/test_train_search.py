"""A search: told of its mistakes before the first fit, the same again after a kill, honest about its best score."""
import json
import os
import re

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # boosting on busy cores is ten times slower without

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from model_ops.errors import DataError, ParameterError
from model_ops.evaluate.metrics import measure
from model_ops.train.attempt import costs, gathered
from model_ops.train.recipe import scores, splits
from model_ops.train.search import Live, choose, frontier, search
from model_ops.train.space import Proposals, Range, Search, asked, grid, points
from model_ops.train.trials import Journal, Searched, Trial, believed, scatter

rng = np.random.default_rng(0)
n = 600
day = np.sort(rng.integers(0, 100, n))
X = rng.normal(size=(n, 4)).astype(np.float32)
y = (X[:, 0] + rng.normal(size=n) > 0.3).astype(int)
codes = np.digitize(X[:, 0] + 0.3*rng.normal(size=n), [-0.5, 0.5])
MODELS = {"tree": lambda **p: DecisionTreeClassifier(random_state=0, **p), "linear": lambda **p: LogisticRegression(**{"solver": "newton-cholesky"} | p), "pipe": lambda **p: make_pipeline(StandardScaler(), MODELS["linear"](**p)),
          "knn": KNeighborsClassifier}
SPACE = {"tree": {"max_depth": {"low": 1, "high": 8}, "criterion": ["gini", "entropy"]}, "linear": {"C": {"low": 0.01, "high": 10, "log": True}}}
RANDOM = {"method": "random", "trials": 12, "families": SPACE}


def make(family, params): return MODELS[family](**params)


def run(told, tmp_path, X=X, y=y, make=make, task="binary", **more):
    return search(told, make, X, y, task=task, journal=tmp_path/"search.jsonl", **{"blocks": day, **more})


def never(family, params):
    class Never(BaseEstimator):
        def fit(self, X, y): pytest.fail("a model was fitted")
        def predict_proba(self, X): pytest.fail("a model was asked")
    return Never()


# what can be known before the first fit

@pytest.mark.parametrize(("told", "said"), [
    ({}, "nothing to search"), ({"method": "random"}, "search space is empty"), ({"method": "random", "families": {"tree": {}}}, "search space is empty"),
    ({"method": "random", "families": {"tree": {"max_depth": []}}}, "tree, max_depth: the list of choices is empty"), ({"families": SPACE}, "method is missing"), ({**RANDOM, "metod": 1}, "metod"),
    ({**RANDOM, "families": {"tree": {"max_depth": {"low": 8, "high": 2}}}}, "low must be below high"), ({**RANDOM, "families": {"tree": {"max_depth": {"low": 0, "high": 2, "log": True}}}}, "begins above 0"),
    ({**RANDOM, "families": {"tree": {"max_depth": {"low": 1, "high": 9, "step": 0}}}}, "step is 0"), ({**RANDOM, "families": {"tree": {"max_depth": {"low": float("nan"), "high": 2}}}}, "nan is no finite number"),
    ({**RANDOM, "families": {"tree": {"max_depth": {"low": True, "high": 2}}}}, "True is no finite number"), ({"method": "grid", "families": {"linear": {"C": {"low": 0.1, "high": 2}}}}, "no end in a grid"),
    ({"method": "grid", "trials": 3, "families": {"tree": {"max_depth": [1, 2, 3, 4]}}}, "4 points and trials is 3"), ({**RANDOM, "metric": "rmse"}, "no metric of a binary task"), ({**RANDOM, "metric": "log_los"}, "log_loss"),
], ids=lambda v: re.sub(r"\W+", "_", v)[:40] if isinstance(v, str) else "")
def test_a_wrong_block_is_told_before_the_first_fit(told, said, tmp_path):
    with pytest.raises(ParameterError, match=re.escape(said)): run(told, tmp_path, make=never)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("family", "space", "said"), [
    ("tree", {"max_dept": [1, 2]}, "Did you mean 'max_depth'?"), ("tree", {"max_depth": [2, -1]}, "Got -1"), ("pipe", {"C": [1.0, -1.0]}, "Got -1.0"), ("tre", {"max_depth": [1, 2]}, "KeyError")])
def test_a_parameter_that_a_model_does_not_take_is_told_before_the_first_fit(family, space, said, tmp_path, monkeypatch):
    monkeypatch.setattr(DecisionTreeClassifier, "fit", lambda *_: pytest.fail("a model was fitted"))
    with pytest.raises(ParameterError, match=re.escape(said)): run({"method": "random", "families": {"linear": {"C": [1.0, 2.0]}, family: space}}, tmp_path)


def test_known_parameters_are_asked_where_they_are_given(tmp_path):
    with pytest.raises(ParameterError, match="has no parameter 'max_dept'. Did you mean 'max_depth'?"):
        run({"method": "random", "families": {"tree": {"max_dept": [1, 2]}}}, tmp_path, make=never, known=lambda family: ["max_depth", "criterion"])


@pytest.mark.parametrize(("labels", "more", "told", "said"), [
    (np.where(np.arange(n) == 3, np.nan, y), {}, {}, "1 of 600 true values are neither 0 nor 1"), (np.where(np.arange(n) == 3, 2, y), {}, {}, "neither 0 nor 1"), (y[1:], {}, {}, "600 rows and 599 labels"),
    (np.sort(y), {}, {}, "learns from .* of one class"), (np.where(day > 25, 0, y), {}, {"metric": "roc_auc"}, "ROC AUC is not defined on the .* one class only"), (y, {"weight": np.full(n, -1.0)}, {}, "weights"),
    (np.where(day > 8, y, np.nan), {"task": "regression"}, {}, "no finite numbers"), (np.where(np.arange(n) == 3, 0.5, codes), {"task": "multiclass"}, {}, "no code of a class"), (y, {"blocks": np.zeros(n)}, {}, "1 different block"),
    (np.where(day > 25, 0.0, y + 1.0), {"task": "regression"}, {"metric": "mape"}, "MAPE is not defined"),
], ids=["nan", "two", "lengths", "one class", "undefined", "weights", "target with NaN", "code", "one block", "mape"])
def test_data_that_cannot_be_searched_on_are_told_before_the_first_fit(labels, more, told, said, tmp_path):
    with pytest.raises(DataError, match=said): run({**RANDOM, **told}, tmp_path, y=labels, make=never, **more)


def test_weights_that_a_model_cannot_take_are_told_before_the_first_fit(tmp_path):
    with pytest.raises(ParameterError, match="KNeighborsClassifier takes no row weights"): run({"method": "random", "families": {"linear": {"C": [1.0, 2.0]}, "knn": {"n_neighbors": [3, 5]}}}, tmp_path, weight=np.ones(n))


def test_a_class_that_a_fold_does_not_learn_is_noted(tmp_path):
    late = np.where((codes == 2) & (day < 20), 1, codes)
    found = run({"method": "random", "trials": 2, "nested": "none", "families": {"tree": {"max_depth": [2, 3]}}}, tmp_path, y=late, task="multiclass")
    assert found.notes[0] == "Fold 1 learns without rows of class 2, and gives it the probability 0."


def test_the_block_is_checked_as_a_parameter():
    from model_ops.params import convert
    assert convert({}, "model_ops.train.search:Search", "train.yaml: search") == {} and convert(RANDOM, "model_ops.train.search:Search", "train.yaml: search") == RANDOM
    with pytest.raises(ParameterError, match="low must be below high"): convert({**RANDOM, "families": {"tree": {"max_depth": {"low": 2, "high": 1}}}}, "model_ops.train.search:Search", "train.yaml: search")


# the space

@settings(deadline=None, max_examples=60)
@given(st.integers(-5, 50), st.integers(1, 60), st.booleans(), st.sampled_from([None, 1, 3]), st.integers(0, 9))
def test_a_draw_is_in_its_range(low, wide, log, step, seed):
    if log: low, step = abs(low) + 1, None
    if step and step > wide: step = None
    one = Range(low=low, high=low + wide, log=log, step=step)
    values = [one.draw(np.random.default_rng([seed, i])) for i in range(20)]
    assert all(isinstance(v, int) and v in one.values() for v in values)
    real = Range(low=float(low), high=float(low + wide), log=log)
    assert all(real.low <= real.draw(np.random.default_rng([seed, i])) <= real.high for i in range(20))


def test_both_ends_are_drawn_as_often_as_the_middle():
    draws = [Range(low=1, high=4).draw(np.random.default_rng(i)) for i in range(2000)]
    assert np.bincount(draws)[1:] == pytest.approx(500, rel=0.15)
    logs = np.log10([Range(low=0.001, high=1.0, log=True).draw(np.random.default_rng(i)) for i in range(2000)])
    assert np.histogram(logs, [-3, -2, -1, 0])[0] == pytest.approx(667, rel=0.15)


@pytest.mark.parametrize("method", ["random", "bayesian"])
def test_no_point_is_tried_twice_and_a_finite_space_ends(method):
    told = asked({"method": method, "trials": 100, "families": {"tree": {"max_depth": {"low": 1, "high": 8}, "criterion": ["gini", "entropy", None]}, "linear": {}}})
    proposals, seen = Proposals(told), []
    for number in range(100):
        if not (point := proposals.next(number)): break
        seen.append(repr(point))
        proposals.tell(*point, [float(point[1].get("max_depth", 0))], True)
    assert len(seen) == len(set(seen)) == 25 == points(told.families["tree"]) + 1


def test_families_take_turns():
    told, proposals = asked({"method": "random", "families": {**SPACE, "pipe": {"C": {"low": 0.1, "high": 1.0}}}}), None
    proposals = Proposals(told)
    assert [proposals.next(i)[0] for i in range(6)] == ["tree", "linear", "pipe"]*2


# what a trial is worth

def test_a_grid_is_what_scikit_learn_finds(tmp_path):
    from sklearn.model_selection import GridSearchCV
    space = {"max_depth": [1, 2, 4], "criterion": ["gini", "entropy"]}
    found = run({"method": "grid", "families": {"tree": space}, "nested": "none", "prune": False}, tmp_path)
    theirs = GridSearchCV(DecisionTreeClassifier(random_state=0), space, scoring="neg_log_loss", cv=list(splits(day, 4))).fit(X, y)
    assert {json.dumps(t.params, sort_keys=True): t.mean for t in found.trials} == {json.dumps(p, sort_keys=True): pytest.approx(-v, rel=1e-4) for p, v in zip(theirs.cv_results_["params"], theirs.cv_results_["mean_test_score"], strict=True)}
    assert found.winner.params == theirs.best_params_ and [(t.family, t.params) for t in found.trials] == list(grid(asked({"method": "grid", "families": {"tree": space}})))


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_the_other_tasks(task, tmp_path):
    target = codes if task == "multiclass" else X[:, 0] + rng.normal(size=n)
    forms = {"tree": DecisionTreeClassifier, "linear": lambda **p: LogisticRegression(solver="newton-cholesky", **p)} if task == "multiclass" else {"tree": DecisionTreeRegressor, "linear": Ridge}
    name = "C" if task == "multiclass" else "alpha"
    found = run({"method": "bayesian", "trials": 14, "families": {"tree": {"max_depth": {"low": 1, "high": 6}}, "linear": {name: {"low": 0.01, "high": 10, "log": True}}}}, tmp_path, y=target, task=task, make=lambda f, p: forms[f](**p))
    assert found.metric == ("log_loss" if task == "multiclass" else "rmse") and found.winner.family == "linear" and found.optimism.low < found.optimism.value < found.optimism.high
    held = day >= np.array_split(np.unique(day), 6)[-1][0]
    model = forms["linear"](**found.winner.params).fit(X[~held], target[~held])
    assert found.optimism.rows == held.sum() and found.optimism.value == pytest.approx(measure(target[held], scores(model, X[held], task, range(3)), metrics=[found.metric], task=task)[found.metric], rel=1e-5)


def test_weights_count_in_fit_and_in_score(tmp_path):
    weight = np.where(rng.random(n) < 0.5, 0.0, 1.0)  # a weight of 0 is a row that is not there
    told, keep = {"method": "grid", "families": {"linear": {"C": [0.1, 1.0]}}, "nested": "none", "prune": False}, weight > 0
    with_weights, without = run(told, tmp_path/"a", weight=weight, blocks=day//10), run(told, tmp_path/"b", X=X[keep], y=y[keep], blocks=day[keep]//10)
    assert [t.mean for t in with_weights.trials] == pytest.approx([t.mean for t in without.trials], rel=1e-3)
    assert run({**told, "families": {"linear": {"C": [1.0]}, "pipe": {"C": [1.0]}}}, tmp_path/"c", weight=weight).trials[1].state == "complete"  # a pipeline passes them on


def test_groups_are_never_split(tmp_path):
    group, seen = rng.integers(0, 50, n), []
    def fit(model, X, y, rows):
        seen.append(set(group[rows]))
        return model.fit(X, y)
    found = run({**RANDOM, "trials": 1, "nested": "none"}, tmp_path, blocks=group, ordered=False, fit=fit)
    assert "whole groups" in found.folded and len(seen) == 4 and sum(len(set(range(50)) - s) for s in seen) == 50


def test_a_cap_on_rows_holds_in_each_fit(tmp_path):
    sizes = []
    run({**RANDOM, "trials": 2, "rows": 100, "prune": False}, tmp_path, fit=lambda model, X, y, rows: (sizes.append(len(X)), model.fit(X, y))[1])
    assert max(sizes) == 100 and len(sizes) == 9  # two trials of four folds, and the held-out fit


def test_pruned_trials_are_worse_than_the_median_and_never_chosen(tmp_path):
    found = run({"method": "random", "trials": 30, "families": SPACE}, tmp_path)
    pruned = [t for t in found.trials if t.state == "pruned"]
    assert pruned and all(len(t.folds) < 4 and "median" in t.reason for t in pruned) and found.winner.state == "complete"
    for t in pruned:
        earlier = [np.mean(o.folds[:len(t.folds)]) for o in found.trials[:t.number] if o.state == "complete"]
        assert np.mean(t.folds) > np.median(earlier)


def test_a_fit_that_fails_is_a_failed_trial_and_not_the_end(tmp_path):
    def fit(model, X, y, rows):
        if getattr(model, "max_depth", 9) < 4: raise MemoryError("too large")
        return model.fit(X, y)
    found = run(RANDOM, tmp_path, fit=fit)
    failed = [t for t in found.trials if t.state == "failed"]
    assert failed and all(t.reason == "MemoryError: too large" for t in failed) and "trials failed" in " ".join(found.notes)
    def broken(*_): raise ValueError("no such thing")
    with pytest.raises(DataError, match="None of 5 trials came to its end. The first: tree .*no such thing"): run({**RANDOM, "trials": 100}, tmp_path, fit=broken, also="other")


def test_a_warning_of_the_fit_is_kept(tmp_path):
    found = run({"method": "grid", "nested": "none", "families": {"linear": {"max_iter": [1, 100], "solver": ["lbfgs"]}}}, tmp_path)
    assert "ConvergenceWarning" in found.trials[0].reason and not found.trials[1].reason and "1 trials had a warning" in found.notes[0]


def test_costs_may_be_measured_by_the_caller(tmp_path):
    price = {"latency_ms": {"1": 0.05, "1000": 1.5}, "size_bytes": 1234}
    assert all((t.latency_ms, t.size_bytes) == (price["latency_ms"], 1234) for t in run(RANDOM, tmp_path, cost=lambda model: price).trials if t.state == "complete")
    small, large = (costs(DecisionTreeClassifier(max_depth=d).fit(X, y), gathered(Search(**RANDOM), X, y, "binary", day, True, None)) for d in (1, 9))
    assert set(small["latency_ms"]) == {"1", "1000"} and 0 < small["size_bytes"] < large["size_bytes"]


# the choice

def trial(number, folds, size=1000, ms=1.0, family="a"):
    return Trial(number=number, family=family, params={"x": number}, state="complete", folds=folds, mean=float(np.mean(folds)), se=0.01, latency_ms={"1": ms, "1000": 10*ms}, size_bytes=size)


def test_best_simplest_and_limits():
    trials = [trial(0, [0.50, 0.60, 0.40], 9000, 5), trial(1, [0.51, 0.59, 0.41], 3000, 2), trial(2, [0.53, 0.63, 0.43], 100, 0.1), trial(3, [0.6, 0.6, 0.6], 10, 0.01)]
    asks = lambda **more: Search(**{**RANDOM, **more})
    assert choose(trials, asks(), "log_loss")[0].number == 0 and "with prefer: simplest it is chosen" in choose(trials, asks(), "log_loss")[1]
    won, why = choose(trials, asks(prefer="simplest"), "log_loss")  # the third is worse in every fold alike: no luck in that
    assert won.number == 1 and "within one standard error of the best, trial 0" in why
    assert choose(trials, asks(latency_ms=1), "log_loss")[0].number == 2 and choose(trials, asks(size_mb=0.00005), "log_loss")[0].number == 3
    with pytest.raises(DataError, match="No trial keeps to 0.001 ms for a row. The fastest takes 0.01 ms"): choose(trials, asks(latency_ms=0.001), "log_loss")
    assert choose(trials, asks(), "roc_auc")[0].number == 3


def test_the_frontier_is_what_nothing_beats():
    trials = [trial(0, [0.5], ms=5), trial(1, [0.6], ms=1), trial(2, [0.55], ms=6), trial(3, [0.7], ms=0.5), trial(4, [0.7], ms=0.6)]
    assert frontier(trials, "log_loss") == [3, 1, 0] and frontier(trials, "roc_auc") == [3]


# the journal

def test_a_search_is_continued_and_not_run_again(tmp_path):
    ran = []
    first = run({**RANDOM, "trials": 5}, tmp_path, on_trial=ran.append)
    second = run(RANDOM, tmp_path, on_trial=ran.append)
    assert [t.number for t in ran] == list(range(12)) and second.trials[:5] == first.trials and run(RANDOM, tmp_path/"new").trials[11].params == second.trials[11].params


@pytest.mark.parametrize("what", ["data", "space", "seed", "recipe", "also", "folds", "weight"])
def test_another_search_begins_anew_and_the_old_one_comes_back(what, tmp_path):
    counts, told = [], {**RANDOM, "trials": 3, "nested": "none"}
    other = {"data": {"X": X + 1}, "seed": {"seed": 1}, "recipe": {"make": lambda f, p: make(f, p).set_params(**({"min_samples_leaf": 7} if f == "tree" else {}))}, "also": {"also": {"preprocess": "one_hot"}}, "weight": {"weight": np.ones(n)}}.get(what, {})
    asks = {"space": {**told, "families": {**SPACE, "tree": {"max_depth": [2, 3]}}}, "folds": {**told, "folds": 3}}.get(what, told)
    for block, more in ((told, {}), (asks, other), (told, {})):
        ran = []
        run(block, tmp_path, on_trial=ran.append, **more)
        counts.append(len(ran))
    assert counts == [3, 3, 0]


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_a_journal_torn_anywhere_keeps_all_whole_lines(tmp_path_factory, data):
    path, trials = tmp_path_factory.mktemp("torn")/"j.jsonl", [trial(i, [0.5]) for i in range(4)]
    with Journal(path, "x") as journal:
        for t in trials: journal.add(t)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut] + data.draw(st.binary(max_size=5)))
    with Journal(path, "x") as journal:
        kept = len(journal.trials)
        assert journal.trials == trials[:kept] and kept >= whole[:cut].count(b"\n") - 1
        journal.add(trials[kept] if kept < 4 else trials[0])
    with Journal(path, "x") as journal: assert len(journal.trials) == kept + 1


def test_two_at_once_are_told(tmp_path):
    with Journal(tmp_path/"j.jsonl", "x"), pytest.raises(DataError, match="Another process runs this search"): Journal(tmp_path/"j.jsonl", "x").__enter__()


@pytest.mark.slow
def test_several_at_once_give_what_one_gives(tmp_path):
    told = {**RANDOM, "trials": 6, "prune": False, "nested": "none"}
    one, two = run(told, tmp_path/"1"), run({**told, "jobs": 2}, tmp_path/"2")
    assert [(t.number, t.family, t.params, t.folds) for t in one.trials] == [(t.number, t.family, t.params, t.folds) for t in two.trials]


def test_a_budget_of_seconds_ends_a_search(tmp_path):
    found = run({**RANDOM, "trials": 500, "seconds": 0.3, "families": {"linear": {"C": {"low": 0.01, "high": 1.0}}}}, tmp_path)
    assert 1 <= len(found.trials) < 500 and "The time of 0.3 s was over" in " ".join(found.notes)


# how far to believe it

def test_held_out_rows_have_no_part_in_the_search(tmp_path):
    seen = []
    given = X[:80] + 9, y[:80], np.arange(80)
    run({**RANDOM, "trials": 2}, tmp_path/"a", fit=lambda model, X, y, rows: (seen.extend(rows), model.fit(X, y))[1])
    assert max(day[seen]) < np.array_split(np.unique(day), 6)[-1][0]
    assert run({**RANDOM, "trials": 2}, tmp_path/"b", held_out=given).optimism.rows == 80


def test_nested_searches_anew_within_each_fold(tmp_path):
    found = run({**RANDOM, "trials": 4, "folds": 3, "nested": "nested"}, tmp_path)
    assert found.optimism.how == "nested" and len(found.optimism.folds) == 3 and found.optimism.low < found.optimism.value < found.optimism.high and len(list(tmp_path.glob("*.outer*.jsonl"))) == 3
    ran = []
    assert run({**RANDOM, "trials": 4, "folds": 3, "nested": "nested"}, tmp_path, fit=None, on_trial=ran.append).optimism == found.optimism and not ran


# what is shown

def test_the_record_comes_back_and_shows_itself(tmp_path):
    found = run({**RANDOM, "method": "bayesian", "trials": 25}, tmp_path)
    again = Searched.load(found.save(tmp_path/"search.json"))
    assert again.digest == found.digest and str(again.__html__()) == str(found.__html__())
    shown = str(found.display())
    assert all(word in shown for word in ("Families side by side", "against cost", "best so far", "Which parameters mattered", "The best trials", "linear", found.why[:20], believed(found)[:30])) and "<script" not in shown
    for family in {s.family for s in found.importance}: assert sum(s.value for s in found.importance if s.family == family) == pytest.approx(1, abs=0.01)


def test_hundreds_of_trials_stay_readable(tmp_path):
    draw = np.random.default_rng(1)
    trials = [trial(i, [float(v)], ms=float(10**draw.uniform(-2, 3)), family="abc"[i % 3]) for i, v in enumerate(np.where(draw.random(600) < 0.02, 1e6, draw.normal(0.5, 0.02, 600)))]
    shown = str(Searched(method="random", metric="log_loss", task="binary", folded="", trials=trials, best=1, chosen=1).display())
    assert len(shown) < 500_000 and shown.count("<tr>") < 330 and "1,000,000" not in re.sub(r"<t[dr].*?</t[dr]>|<title>.*?</title>", "", shown)


@pytest.mark.parametrize("points", [{}, {"a": []}, {"a": [(1.0, None, "")]}, {"a": [(1.0, 0.5, "")]}, {"a": [(1.0, 0.5, "")]*20}, {"a": [(0.0, 0.5, "")]}], ids=range(6))
def test_a_picture_of_few_points(points):
    for worse in (-1, 0, 1): assert "<svg" in str(scatter(points, title="t", x_label="x", y_label="y", powers=True, worse=worse))


def test_the_live_table_is_quiet_outside_a_notebook(tmp_path, capsys):
    run(RANDOM, tmp_path)
    assert capsys.readouterr().out == ""
    live = Live(3, "log_loss")
    assert "0 of 3 trials" in str(live.__html__())
    live(trial(0, [0.5]))
    assert "1 of 3 trials" in str(live.__html__()) and "to go" in str(live.__html__())
