"""How often to look, on which window, by which metrics: the advice follows traffic, delay and costs, and its windows are long enough."""
import dataclasses
import shutil
from pathlib import Path
import monitored_log
import numpy as np
import pytest
from hypothesis import given, settings as limits, strategies as st
from monitored_window import window
from model_ops.drift.compare import compare
from model_ops.drift.meaning import Change, judge
from model_ops.drift.parts import Figure
from model_ops.errors import DataError, ParameterError
from model_ops.monitor import intake
from model_ops.monitor.advise import FALSE, Advice, advise, cron, days_needed, of_workbook, reach, write
from model_ops.monitor.alerts import Alerts
from model_ops.monitor.maturity import Expected, mature
from model_ops.monitor.policy import Costs, Policy
from model_ops.monitor.schedules import times
from model_ops.params import read_yaml
from model_ops.workbook.scaffold import add

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
WIDE = {"log_loss": 0.1, "roc_auc": 0.1}  # margins that the small validation window can tell


def figure(value, half): return Figure(value=value, low=value - half, high=value + half)


def change(half, margin=.03, reference=.45): return Change(better="lower", reference=reference, loss=figure(0, half), margin=margin)


def given_by(logged, costs=None, harm=WIDE, **more): return advise(logged, mature(logged, Expected()), Policy(), costs or Costs(), harm=harm, **more)


def about(advice, what): return next(s for s in advice.said if s.about == what)


# ---------------------------------------------------------------- how many days

@pytest.mark.parametrize("other", [4_000, 60_000], ids="{} rows of the package".format)
@pytest.mark.parametrize("half", [.015, .02, .03], ids="± {}".format)
def test_so_many_days_tell_holding_from_twice_the_margin_in_four_of_five_cases(half, other):
    "Both windows are noisy, and how noisy has to be found out with few degrees of freedom."
    from scipy.stats import t
    rng, margin, had, rows = np.random.default_rng(0), .03, 28, 8400
    said = days_needed(figure(0, half), margin, had, rows, other)
    if said is None:
        assert (half, other) == (.03, 4_000)
        return
    freedom, one = said//4, (half/t.ppf(.975, had//4))**2/(1/rows + 1/other)
    error = np.sqrt(one*(had/said/rows + 1/other))
    off, width = rng.normal(0, error, 20_000), t.ppf(.975, freedom)*error*np.sqrt(rng.chisquare(freedom, 20_000)/freedom)
    assert min((off + width < margin).mean(), (2*margin + off - width > margin).mean()) > .77
    if said > 20: assert (off + width < margin).mean() < .85


def kept(days, seeds, metric, harm, **world):
    "How the health record judges the metric in other windows of so many days."
    outcomes = []
    for seed in seeds:
        w = window(days=days, seed=seed, delay=.01, **world)
        outcomes.append(judge(w.validation, w.scores, w.labelled, harm=harm).metrics[metric].outcome)
    return outcomes


def promised(metric, harm, **world):
    logged = window(days=28, delay=.01, **world)
    return next(r for r in given_by(logged, harm=harm).metrics if r.metric == metric)


def test_the_health_record_says_holds_after_so_many_days():
    said = promised("log_loss", WIDE, rows=100)
    assert 18 <= said.days <= 22 and said.rows == pytest.approx(said.days*100, rel=.1)
    assert kept(said.days, range(100, 106), "log_loss", WIDE, rows=100).count("holds") >= 5


@pytest.mark.slow
@pytest.mark.parametrize(("task", "metric", "rows", "margin"), [("binary", "log_loss", 100, .08), ("regression", "mae", 200, .08)])
def test_it_says_so_in_most_windows_and_worse_in_none(task, metric, rows, margin):
    harm = {metric: margin}
    outcomes = kept(promised(metric, harm, task=task, rows=rows).days, range(100, 120), metric, harm, task=task, rows=rows)
    assert outcomes.count("holds") >= 14 and "worse" not in outcomes


@limits(deadline=None, max_examples=40)
@given(st.floats(.005, .2), st.floats(1.05, 4), st.floats(.01, .2), st.booleans())
def test_more_noise_takes_no_fewer_days_and_a_larger_margin_no_more(half, times_as, margin, by_chunk):
    days = lambda half, margin: days_needed(figure(0, half), margin, 28, 2800, 30_000, by_chunk) or np.inf
    assert days(half*times_as, margin) >= days(half, margin) >= days(half, margin*times_as) >= 14


def test_with_the_same_noise_a_row_a_longer_window_of_the_package_takes_fewer_days():
    half = lambda other: .02*np.sqrt((1/8400 + 1/other)/(1/8400 + 1/20_000))
    took = [days_needed(figure(0, half(other)), .03, 28, 8400, other) or np.inf for other in (4_000, 10_000, 20_000, 100_000)]
    assert took == sorted(took, reverse=True) and took[0] > took[-1]


def test_out_of_reach_is_said():
    far = reach("log_loss", change(.2), 28, 2800, other=3_000_000)
    own = reach("log_loss", change(.03), 28, 8400, other=2000)
    assert far.days is own.days is None and "more than a year" in far.sentence and "longer validation window" in own.sentence and own.own < own.noise


def test_the_margin_of_an_absolute_error_is_a_share_of_it():
    found = reach("mae", change(.03, margin=.1, reference=12), 28, 2800, other=30_000)
    assert (found.margin, found.noise) == (pytest.approx(1.2), pytest.approx(.36))
    assert found.days == reach("log_loss", change(.03, margin=.1), 28, 2800, other=30_000).days


# ---------------------------------------------------------------- what is advised

def test_less_traffic_asks_for_a_longer_window_and_later_labels_too():
    busy, quiet, late = (given_by(window(days=40, rows=rows, delay=delay)) for rows, delay in ((400, 1), (100, 1), (400, 6)))
    assert quiet.window > busy.window and quiet.every >= busy.every and late.window > busy.window
    assert late.told["labels"]["within_days"] > busy.told["labels"]["within_days"] and all(a.window % 7 == 0 for a in (busy, quiet, late))
    assert busy.metrics[0].days <= busy.metrics[-1].days and about(busy, "judged by").value.startswith(("ROC AUC", "log loss"))


def test_the_labels_block_that_is_advised_raises_no_alarm_where_it_came_from():
    logged = window(days=40, rows=200, delay=4, share=.7)
    assert mature(logged, Expected()).missing
    told = given_by(logged).told["labels"]
    assert not mature(logged, Expected(**told)).missing and .6 < told["share"] < .7


def test_costs_make_it_more_often():
    logged = window(days=40, rows=60, delay=1)
    harm = {"log_loss": 0.06, "roc_auc": 0.06}
    cheap, dear = (given_by(logged, Costs(loss=loss, retrain=100, currency="EUR"), harm) for loss in (0.001, 15))
    assert dear.every < cheap.every == 7 and "a needless retraining costs 100 EUR" in about(dear, "how often").why and "EUR" in about(cheap, "what pays").why
    assert not any(s.about == "what pays" for s in given_by(logged).said)


@pytest.mark.parametrize("loss", [.2, .5, 1.5, 3])
def test_the_days_between_two_looks_are_those_of_the_formula(loss):
    "sqrt(2·k·H/c): a false alarm, the days between two losses, a loss of the margin on a day's rows."
    logged = window(days=40, rows=60, delay=1)
    found = given_by(logged, Costs(loss=loss, retrain=100), {"log_loss": 0.1, "roc_auc": 0.1})
    best = np.sqrt(2*FALSE*100*Policy().horizon_days/(loss*.1*60))
    assert abs(found.every - min(7, max(1, best))) < 1 and found.params()["alerts"] == {"monitor_hours": 24*found.every + 2}


def test_days_are_days_of_the_version_in_charge_where_there_is_no_time_column():
    "Without a time column the scores have no chunks of days."
    logged = window(days=30, rows=200, delay=.01)
    flat = lambda scores: scores.model_copy(update=dict(by_chunk=False, chunks=["all"], tables={n: t.model_copy(update=dict(rows=[np.sum(t.rows, axis=0).tolist()], labels=[np.sum(t.labels, axis=0).tolist()] if len(t.labels) else [], squares=[])) for n, t in scores.tables.items()}))
    bare = dataclasses.replace(logged, validation=flat(logged.validation), scores=flat(logged.scores), labelled=flat(logged.labelled))
    found = given_by(bare).metrics
    assert found and all(r.days >= 14 and "30 days now" in r.sentence and r.rows == pytest.approx(200*r.days, rel=.1) for r in found)
    two = window(days=30, rows=200, delay=.01, versions=2, from_day=10)
    assert "20 days now" in given_by(two).metrics[0].sentence


def test_the_window_is_as_long_as_the_slowest_metric_within_reach_needs():
    "For the record says that the model holds when all its metrics do."
    found = given_by(window(days=28, rows=100, delay=.01), harm={"log_loss": .08, "roc_auc": .1})
    assert found.metrics[0].days < found.metrics[1].days <= found.window
    open_ = given_by(window(days=28, rows=100, delay=.01), harm={"log_loss": .01, "roc_auc": .1})
    assert open_.metrics[1].days is None and "log loss will stay open" in about(open_, "window").why


def test_without_labels_the_estimate_is_what_there_is():
    logged = window(days=30, rows=100)
    bare = dataclasses.replace(logged, labelled=None, labelled_rows=logged.labelled_rows.clear(), delays=logged.delays.clear())
    found = given_by(bare)
    assert found.window == 28 and found.metrics == [] and about(found, "judged by").value == "the estimate from the scores" and found.told == {"days": 28, "alerts": {"monitor_hours": 50}}
    assert given_by(dataclasses.replace(bare, validation=None)).window == 28


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_other_tasks(task):
    found = given_by(window(days=30, rows=200, task=task), harm={"mae": 0.1} if task == "regression" else WIDE)
    assert found.metrics and found.metrics[0].days and found.params()["policy"]["least_rows"] >= found.metrics[0].days


def test_open_columns_say_what_they_need():
    logged = window(days=12, rows=30)
    verdict = compare(logged.reference, logged.profile, contract=logged.served.contract)
    said = about(given_by(logged, verdict=verdict), "drift of inputs")
    assert "not enough data" in said.why and said.value.endswith("of 4 columns")


def test_the_record_goes_through_json_and_reads_well():
    found = given_by(window(days=40, rows=200))
    again = Advice.from_json(found.to_json())
    assert again == found and "<script" not in str(again.__html__()) and "model-ops monitor --advise --write" in found.text() and found.summary in found.text()


@pytest.mark.parametrize("every", range(1, 8))
def test_the_schedule_is_one(every):
    found = times(cron(every))
    assert len(found["hour"]) == 1 and (len(found["day"]) == -(-31//every) or every == 7 and found["weekday"] == [1])


# ---------------------------------------------------------------- for a workbook

@pytest.fixture
def book(tmp_path):
    "A workbook with 40 days of a log, and the step monitor."
    made = monitored_log.make(tmp_path / "book", rows=100, label_delay_days=2)
    shutil.copytree(REPOSITORY / "nbs/steps", made.root / "nbs/steps")
    (made.root / "params").mkdir()
    text = (REPOSITORY / "params/monitor.yaml").read_text()
    (made.root / "params/monitor.yaml").write_text(text.replace("slices: [origin, carrier]", "slices: []").replace("policy: {}", "policy: {train: 60d}").replace("alerts: {}", "alerts: {quiet_minutes: 60}").replace("harm: {}", "harm: {log_loss: 0.1, roc_auc: 0.1}"))
    return made


def test_the_advice_for_a_workbook_is_written_on_request_and_keeps_the_rest(book):
    path = book.root / "params/monitor.yaml"
    before = path.read_text()
    found = of_workbook(book, {"until": "2026-02-10", "as_of": "2026-02-10"})
    assert found.metrics and about(found, "drift of inputs") and path.read_text() == before
    write(found, book)
    told = read_yaml(path)
    assert told["days"] == found.window and told["policy"] == {"train": "60d", **found.told["policy"]} and told["labels"] == found.told["labels"] and "# when labels usually are there" in path.read_text()
    assert told["alerts"] == {"quiet_minutes": 60, "monitor_hours": 24*found.every + 2} and Alerts(**told["alerts"])
    checked = intake.told(book)
    assert checked.policy.train == "60d" and checked.labels.within_days == found.told["labels"]["within_days"]


def test_what_cannot_be_is_said_before_the_log_is_read(book):
    with pytest.raises(ParameterError, match="until"): of_workbook(book, {"until": "yesterday"})
    with pytest.raises(DataError, match="no prediction"): of_workbook(book, {"until": "2024-01-01"})


def test_how_to_write_it_is_said_with_what_was_told_and_only_where_it_is_not_written(book):
    found = of_workbook(book, {"days": 30.0, "until": "2026-02-10", "as_of": "2026-02-10"})
    assert found.text().endswith("\n  write it   model-ops monitor --advise --days 30 --until 2026-02-10 --as-of 2026-02-10 --write")
    assert "--write" not in found.text(written=True) and found.text().startswith(found.text(written=True)) and Advice.from_json(found.to_json()).text() == found.text()


def test_a_workbook_without_the_step_is_told_how_to_get_it(book):
    (book.root / "nbs/steps/monitor.ipynb").unlink()
    with pytest.raises(ParameterError, match="There is no step 'monitor'.*model-ops add monitor"): of_workbook(book)
    add("monitor", settings=book)
    assert of_workbook(book, {"until": "2026-02-10", "as_of": "2026-02-10"}).metrics
