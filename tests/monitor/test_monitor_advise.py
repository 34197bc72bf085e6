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
from model_ops.drift.parts import Figure
from model_ops.errors import DataError, ParameterError
from model_ops.monitor import intake
from model_ops.monitor.advise import Advice, advise, cron, of_workbook, reach, write
from model_ops.monitor.maturity import Expected, mature
from model_ops.monitor.policy import Costs, Policy
from model_ops.monitor.schedules import times
from model_ops.params import read_yaml

REPOSITORY = Path(__file__).resolve().parents[2]
WIDE = {"log_loss": 0.1, "roc_auc": 0.1}  # margins that the small validation window can tell


def figure(value, half): return Figure(value=value, low=value - half, high=value + half)


def given_by(logged, costs=None, harm=WIDE, **more): return advise(logged, mature(logged, Expected()), Policy(), costs or Costs(), harm=harm, **more)


def about(advice, what): return next(s for s in advice.said if s.about == what)


# ---------------------------------------------------------------- how many days

@pytest.mark.parametrize("half", [.02, .03, .05], ids="± {}".format)
def test_so_many_days_show_it_in_four_of_five_cases(half):
    from scipy.stats import t
    rng, margin, had = np.random.default_rng(0), .03, 28
    sd = half/t.ppf(.975, had - 1)*np.sqrt(had)
    said = reach("log_loss", margin, figure(.45, 1e-9), figure(.45, half), had, 2800)
    days = rng.normal(2*margin, sd, (10_000, said.days))
    power = (days.mean(axis=1) - t.ppf(.975, said.days - 1)*days.std(axis=1, ddof=1)/np.sqrt(said.days) > margin).mean()
    assert .77 < power < .84 and said.rows == pytest.approx(said.days*100, rel=.1)


def test_the_packages_own_interval_counts_too():
    "A window of the current data cannot be surer than what it is compared with."
    from scipy.stats import norm
    own, margin, half, had = .01, .03, .03, 28
    said = reach("log_loss", margin, figure(.45, own), figure(.45, half), had, 2800)
    bare = reach("log_loss", margin, figure(.45, 1e-9), figure(.45, half), had, 2800)
    rng, spread = np.random.default_rng(1), np.hypot(own, half*np.sqrt(had/said.days))/norm.ppf(.975)
    assert said.days > bare.days and .77 < (rng.normal(2*margin, spread, 20_000) - norm.ppf(.975)*spread > margin).mean() < .84


@limits(deadline=None, max_examples=40)
@given(st.floats(.005, .2), st.floats(1.05, 4), st.floats(.01, .2))
def test_more_noise_takes_no_fewer_days_and_a_larger_margin_no_more(half, times_as, margin):
    def days(half, margin):
        found = reach("log_loss", margin, figure(.5, .001), figure(.5, half), 28, 2800).days
        return np.inf if found is None else found
    assert days(half*times_as, margin) >= days(half, margin) >= days(half, margin*times_as) >= 10


def test_out_of_reach_is_said():
    assert "more than a year" in reach("log_loss", .01, figure(.45, .001), figure(.45, .2), 28, 2800).sentence
    known = reach("log_loss", .01, figure(.45, .02), figure(.45, .001), 28, 2800)
    assert known.days is None and "when the model was made" in known.sentence


def test_the_margin_of_an_absolute_error_is_a_share_of_it():
    assert reach("mae", .1, figure(12, .1), figure(12, .3), 28, 2800).margin == pytest.approx(1.2)


# ---------------------------------------------------------------- what is advised

def test_less_traffic_asks_for_a_longer_window_and_later_labels_too():
    busy, quiet, late = (given_by(window(days=40, rows=rows, delay=delay)) for rows, delay in ((400, 1), (60, 1), (400, 6)))
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
    assert dear.every < cheap.every and "costs more than a retraining (100 EUR)" in about(dear, "how often").why and "EUR" in about(cheap, "what pays").why
    assert not any(s.about == "what pays" for s in given_by(logged).said)


def test_without_labels_the_estimate_is_what_there_is():
    logged = window(days=30, rows=100)
    bare = dataclasses.replace(logged, labelled=None, labelled_rows=logged.labelled_rows.clear(), delays=logged.delays.clear())
    found = given_by(bare)
    assert found.window == 28 and found.metrics == [] and about(found, "judged by").value == "the estimate from the scores" and found.told == {"days": 28}
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
    (made.root / "params/monitor.yaml").write_text(text.replace("slices: [origin, carrier]", "slices: []").replace("policy: {}", "policy: {train: 60d}").replace("harm: {}", "harm: {log_loss: 0.1, roc_auc: 0.1}"))
    return made


def test_the_advice_for_a_workbook_is_written_on_request_and_keeps_the_rest(book):
    path = book.root / "params/monitor.yaml"
    before = path.read_text()
    found = of_workbook(book, {"until": "2026-02-10", "as_of": "2026-02-10"})
    assert found.metrics and about(found, "drift of inputs") and path.read_text() == before
    write(found, book)
    told = read_yaml(path)
    assert told["days"] == found.window and told["policy"] == {"train": "60d", **found.told["policy"]} and told["labels"] == found.told["labels"] and "# when labels usually are there" in path.read_text()
    checked = intake.told(book)
    assert checked.policy.train == "60d" and checked.labels.within_days == found.told["labels"]["within_days"]


def test_what_cannot_be_is_said_before_the_log_is_read(book):
    with pytest.raises(ParameterError, match="until"): of_workbook(book, {"until": "yesterday"})
    with pytest.raises(DataError, match="no prediction"): of_workbook(book, {"until": "2024-01-01"})
