"Live drift: the very counts of a profile, a window that slides, and versions that come and go."
import os
import threading
from datetime import date, timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_ops.data.contract import learn
from model_ops.data.encode import encode
from model_ops.drift.compare import compare
from model_ops.drift.profile import Profile
from model_ops.drift.scores import Scores
from model_ops.package.build import write_package
from model_ops.package.predictor import Predictor
from model_ops.serve.exposition import of_live, rendered
from model_ops.serve.live import Cells, Live
from model_ops.serve.telemetry import Telemetry


def _parcels(rows, seed=0, shift=0.0, depots=("Bonn", "Köln", "Ulm")):
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame({"kilos": (rng.gamma(2, 3, rows) + shift).round(2), "pieces": rng.poisson(2, rows), "number": rng.integers(10**7, 10**7 + 10**5, rows), "depot": rng.choice(depots, rows),
                          "fragile": rng.random(rows) < 0.3, "sent": [date(2024, 1, 1) + timedelta(days=int(d)) for d in rng.integers(0, 300, rows)], "late": rng.random(rows) < 0.2})
    return frame.with_columns(kilos=pl.when(pl.int_range(rows) % 17 == 3).then(None).otherwise("kilos"), depot=pl.when(pl.int_range(rows) % 19 == 3).then(None).otherwise("depot"))


@pytest.fixture(scope="module")
def reference():
    frame = _parcels(4000)
    contract = learn(frame, target="late")
    return SimpleNamespace(frame=frame, contract=contract, profile=Profile.of(frame, contract=contract), scores=Scores.of(np.random.default_rng(1).beta(2, 5, 4000), task="binary", classes=["false", "true"], threshold=0.3))


def _served(folder, reference, digest="a1", scores=True):
    folder.mkdir(exist_ok=True)
    reference.profile.save(folder/"profile.json")
    if scores: reference.scores.save(folder/"scores.json")
    return SimpleNamespace(digest=digest * 32, contract=reference.contract, folder=folder)


def _feed(live, reference, frame, batch=50, score=None):
    X = encode(reference.contract, frame).X
    score = np.full(len(X), 0.25) if score is None else score
    for i in range(0, len(X), batch): live.count(X[i:i + batch], {"score": score[i:i + batch]})


class Clock:
    "Seconds, moved by hand."
    def __init__(self): self.now = 1.7e9
    def __call__(self): return self.now


def test_the_counts_are_those_of_a_profile_of_the_same_rows(reference):
    table = _parcels(3000, seed=2, shift=2.0, depots=("Bonn", "Mainz", "Ulm", "Trier"))
    cells, profile = Cells(reference.contract, reference.profile.columns), Profile.of(table, like=reference.profile, contract=reference.contract)
    counts = cells.count(encode(reference.contract, table).X)
    for name, where in cells.slices.items(): assert counts[where].tolist() == profile.columns[name].table.sum(axis=0).tolist(), name
    assert sorted(cells.slices) == ["depot", "fragile", "kilos", "number", "pieces"] and list(cells.uncounted) == ["sent"]
    assert "date" in cells.uncounted["sent"]


_number = st.one_of(st.none(), st.integers(-50, 50), st.sampled_from([0.1, 0.7, -0.3, 1e-30, 1e30, 16777216, 3.14]))


@settings(deadline=None, max_examples=40)
@given(before=st.lists(_number, min_size=3, max_size=40).filter(lambda v: len({x for x in v if x is not None}) > 1), after=st.lists(_number, max_size=20))
def test_32_bits_move_no_value_of_the_reference_into_another_cell(before, after):
    known = [v for v in before if v is not None]
    before, after = [*before, *known*2], [*known, *(v for v in after if v in known or v is None)]
    frame = pl.DataFrame({"x": pl.Series(before, dtype=pl.Float64, strict=False), "late": [i % 2 == 0 for i in range(len(before))]})
    contract = learn(frame, target="late", roles={"x": "feature"}, dtypes={"x": "number"})
    profile = Profile.of(frame, contract=contract)
    now = pl.DataFrame({"x": pl.Series(after, dtype=pl.Float64, strict=False), "late": [True]*len(after)})
    cells = Cells(contract, profile.columns)
    where = cells.slices["x"]
    assert cells.count(encode(contract, now).X)[where].tolist() == Profile.of(now, like=profile, contract=contract).columns["x"].table.sum(axis=0).tolist()


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_what_the_model_says_is_counted_as_the_verdict_counts_it(tmp_path, reference, task):
    rng = np.random.default_rng(3)
    said = {"binary": lambda n: rng.beta(2, 5, n), "multiclass": lambda n: rng.dirichlet([1, 2, 3], n), "regression": lambda n: rng.normal(size=n)}[task]
    facts = dict(task=task, classes=[] if task == "regression" else list("ab"[:2]) if task == "binary" else list("abc"))
    scores = Scores.of(said(4000), **facts)
    reference.profile.save(tmp_path/"profile.json")
    scores.save(tmp_path/"scores.json")
    live, now = Live(tmp_path/"log", "w0", SimpleNamespace(digest="a1"*32, contract=reference.contract, folder=tmp_path)), said(1000)
    outputs = {"score": now if now.ndim == 1 else now.max(axis=1), **({"probabilities": now} if now.ndim == 2 else {})}
    live.count(encode(reference.contract, _parcels(1000)).X, outputs)
    assert live.window()[1 + live.cells.size:].tolist() == Scores.of(now, like=scores, **facts).said.sum(axis=0).tolist()
    assert live.gauges().predictions.rows == 1000 and live.gauges().predictions.effect < 0.05


def test_the_effect_is_that_of_a_comparison_of_independent_rows(tmp_path, reference):
    table = _parcels(2000, seed=4, shift=1.5)
    live = Live(tmp_path/"log", "w0", _served(tmp_path/"package", reference))
    _feed(live, reference, table)
    verdict = compare(reference.profile, Profile.of(table, like=reference.profile, contract=reference.contract))
    for gauge in live.gauges().columns: assert gauge.effect == pytest.approx(verdict.columns[gauge.column].questions["values"].effect, abs=1e-5), gauge.column


def test_unseen_values_and_missing_ones_have_their_shares(tmp_path, reference):
    live = Live(tmp_path/"log", "w0", _served(tmp_path/"package", reference))
    frame = _parcels(100, seed=5).with_columns(depot=pl.when(pl.int_range(100) < 20).then(pl.lit("Mainz")).when(pl.int_range(100) < 60).then(None).otherwise(pl.lit("Ulm")), kilos=pl.lit(1e6))
    _feed(live, reference, frame)
    gauges = {g.column: g for g in live.gauges().columns}
    assert (gauges["depot"].nulls, gauges["depot"].unseen, gauges["depot"].rows) == (0.4, 20/60, 60) and (gauges["kilos"].nulls, gauges["kilos"].unseen) == (0, 1)


def test_the_window_slides(tmp_path, reference):
    clock = Clock()
    live = Live(tmp_path/"log", "w0", _served(tmp_path/"package", reference), minutes=10, slots=10, clock=clock)
    found = []
    for minute in range(30):
        if minute < 12: _feed(live, reference, _parcels(40 + minute, seed=minute))
        found.append(live.gauges().rows)
        clock.now += 60
    rows = [40 + m if m < 12 else 0 for m in range(30)]
    assert found == [sum(rows[max(0, m - 9):m + 1]) for m in range(30)]


def test_a_clock_that_is_put_back_loses_nothing_but_what_lies_ahead(tmp_path, reference):
    clock = Clock()
    live = Live(tmp_path/"log", "w0", _served(tmp_path/"package", reference), minutes=10, slots=10, clock=clock)
    _feed(live, reference, _parcels(40))
    live.flush()
    clock.now -= 3600
    assert live.gauges().rows == 0
    _feed(live, reference, _parcels(50))
    assert live.gauges().rows == 50


def test_workers_are_added_up_and_an_ended_one_counts_until_its_window_is_over(tmp_path, reference):
    clock, served = Clock(), _served(tmp_path/"package", reference)
    one, two = (Live(tmp_path/"log", name, served, clock=clock) for name in ("w0", "w1"))
    _feed(one, reference, _parcels(100))
    _feed(two, reference, _parcels(60))
    two.close()
    assert one.gauges().rows == 160
    again = Live(tmp_path/"log", "w1", served, clock=clock)
    _feed(again, reference, _parcels(40))
    again.flush()
    assert one.gauges().rows == again.gauges().rows == 200
    clock.now += 3601
    assert one.gauges().rows == 0


def test_each_version_has_its_own_counts_and_one_that_comes_back_finds_them(tmp_path, reference):
    one = Live(tmp_path/"log", "w0", _served(tmp_path/"package", reference))
    _feed(one, reference, _parcels(100))
    one.close()
    two = Live(tmp_path/"log", "w0", _served(tmp_path/"package", reference, "b2"))
    assert two.gauges().rows == 0
    _feed(two, reference, _parcels(30))
    assert two.gauges().rows == 30
    two.close()
    back = Live(tmp_path/"log", "w0", _served(tmp_path/"package", reference))
    assert back.gauges().rows == 100


def test_files_of_versions_that_are_long_gone_are_removed(tmp_path, reference):
    old, held, young = (Live(tmp_path/"log", "w0", _served(tmp_path/"package", reference, digest)) for digest in ("b2", "c3", "d4"))
    for live in (old, young): live.close()
    for file in (tmp_path/"log"/"live").iterdir():
        if not file.name.startswith("d4"): os.utime(file, (1.0, 1.0))
    Live(tmp_path/"log", "w0", _served(tmp_path/"package", reference))
    assert sorted(f.name[:2] for f in (tmp_path/"log"/"live").iterdir()) == ["a1", "c3", "d4"], "one that a worker still holds, and one with a window that is not over, stay"
    held.close()


def test_another_layout_starts_from_zero(tmp_path, reference):
    served = _served(tmp_path/"package", reference)
    one = Live(tmp_path/"log", "w0", served, minutes=60)
    _feed(one, reference, _parcels(100))
    one.close()
    assert Live(tmp_path/"log", "w0", served, minutes=30).gauges().rows == 0


def test_threads_may_count_at_once(tmp_path, reference):
    live, frame = Live(tmp_path/"log", "w0", _served(tmp_path/"package", reference)), _parcels(500)
    threads = [threading.Thread(target=_feed, args=(live, reference, frame, 7)) for _ in range(4)]
    for t in threads: t.start()
    while any(t.is_alive() for t in threads): live.gauges()
    assert live.gauges().rows == 2000


def test_few_rows_have_no_effect_yet(tmp_path, reference):
    live = Live(tmp_path/"log", "w0", _served(tmp_path/"package", reference))
    assert [g.effect for g in live.gauges().columns] == [None]*5 and live.gauges().predictions.effect is None and "live_rows 0.0" in rendered(of_live(live)).decode()
    _feed(live, reference, _parcels(20))
    assert {g.effect for g in live.gauges().columns} == {None} and "live_drift{" not in rendered(of_live(live)).decode()


@pytest.mark.parametrize("profile", [None, "{", '{"kind": "profile", "version": 99}'], ids=["none", "torn", "newer"])
def test_without_a_reference_rows_are_counted_and_no_column_is(tmp_path, reference, profile):
    served = _served(tmp_path/"package", reference)
    (tmp_path/"package"/"profile.json").unlink()
    if profile: (tmp_path/"package"/"profile.json").write_text(profile)
    live = Live(tmp_path/"log", "w0", served)
    _feed(live, reference, _parcels(100))
    gauges = live.gauges()
    assert gauges.rows == 100 and gauges.columns == [] and set(live.uncounted) == set(reference.contract.features) and bool(live.trouble) == bool(profile)
    assert (gauges.predictions is None) == bool(profile)


def test_a_column_of_another_type_in_the_reference_is_named(reference):
    contract = reference.contract.model_copy(deep=True)
    contract.columns["pieces"].dtype, contract.columns["pieces"].low, contract.columns["pieces"].high, contract.columns["pieces"].categories = "category", None, None, ["0", "1"]
    assert Cells(contract, reference.profile.columns).uncounted["pieces"] == "It is a category here, and integer in the reference."


@pytest.mark.parametrize(("low", "width", "fine"), [(0, 1000, False), (2**27, 400, True), (2**27, 10**6, False), (1e300, 1e299, True), (0.5, 1e-9, True)], ids=["small", "large-and-narrow", "large-and-wide", "beyond", "narrow"])
def test_cells_that_32_bits_cannot_tell_apart_are_not_counted(low, width, fine):
    frame = pl.DataFrame({"x": low + width*np.random.default_rng(0).random(3000), "late": [i % 2 == 0 for i in range(3000)]})
    contract = learn(frame, target="late", roles={"x": "feature"})
    assert ("finer" in Cells(contract, Profile.of(frame, contract=contract).columns).uncounted.get("x", "")) == fine


@pytest.mark.slow
def test_the_gauges_of_a_real_package_are_in_the_metrics(tmp_path, reference):
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.tree import DecisionTreeClassifier
    X, y = encode(reference.contract, reference.frame).X, reference.frame["late"].to_numpy().astype(int)
    model = make_pipeline(SimpleImputer(), DecisionTreeClassifier(max_leaf_nodes=6, random_state=0)).fit(X, y)  # few scores, each of them an edge
    write_package(tmp_path/"package", model=model, X=X[:200], contract=reference.contract, threshold=0.3, profile=reference.profile,
                  scores=Scores.of(model.predict_proba(X)[:, 1], task="binary", classes=["false", "true"], threshold=0.3))
    predictor = Predictor.open(tmp_path/"package")
    live, telemetry = Live(tmp_path/"log", "w0", SimpleNamespace(digest=predictor.digest, contract=predictor.contract, folder=tmp_path/"package")), Telemetry(tmp_path/"log", "w0")
    said = predictor.predict_encoded(X)
    live.count(X, {"score": said.score, "label": said.label})
    telemetry.version(SimpleNamespace(name="parcels", version="1", digest=predictor.digest, contract=predictor.contract), live)
    lines = dict(line.rsplit(" ", 1) for line in telemetry.render().decode().splitlines() if not line.startswith("#"))
    assert float(lines["model_ops_live_rows"]) == 4000 and float(lines['model_ops_live_drift{column="kilos"}']) == 0
    assert float(lines["model_ops_live_prediction_drift"]) < 0.01 and lines['model_ops_live_counted{column="sent"}'] == "0.0"
