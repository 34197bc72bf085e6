"""A replayed year: the stream and its late labels, the rivals, the gain, the state that a killed replay goes on from, and one whole replay."""
import json
import shutil
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings as hypothesis_settings
from hypothesis import strategies as st
from model_ops.errors import DataError, ParameterError
from model_ops.monitor import alerts, replay as replays
from model_ops.monitor.asked import STATE, Asked, State, months_of
from model_ops.monitor.gain import gained, log_losses, prices
from model_ops.monitor.rivals import Learning, days, known, learned, monthly, recipe
from model_ops.monitor.story import MONTHLY, NEVER, OURS, Month, Story, headline, page, told
from model_ops.monitor.traffic import MOST, Lateness, addressed, arrivals, batches, come, send
from model_ops.settings import Settings
from sklearn.metrics import log_loss

START = datetime(2026, 1, 1)


def world(rows: int = 2000, minutes: int = 30, seed: int = 0) -> pl.DataFrame:
    "Parcels in the order of time; wind matters more from March on."
    rng = np.random.default_rng(seed)
    when = [START + timedelta(minutes=minutes*i) for i in range(rows)]
    wind = rng.normal(0, 1, rows)
    strength = np.array([2.0 if t.month >= 3 else 0.5 for t in when])
    return pl.DataFrame({"at": when, "wind": wind, "depot": rng.choice(["Bonn", "Ulm"], rows), "late": rng.random(rows) < 1/(1 + np.exp(1 - strength*wind))})


# the stream


@hypothesis_settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=200), st.randoms(use_true_random=False))
def test_a_row_has_the_same_address_in_whatever_order_the_rows_came(minutes, random):
    frame = pl.DataFrame({"at": [START + timedelta(minutes=m) for m in minutes], "x": range(len(minutes))})
    rows = addressed(frame, "at")
    order = list(range(len(minutes)))
    random.shuffle(order)
    keys = lambda f: set(f.select("request_id", "row").rows())
    assert rows["event"].is_sorted() and len(keys(rows)) == rows.height and keys(addressed(frame[order], "at")) == keys(rows)
    assert sorted(rows["x"]) == list(range(len(minutes)))


def test_a_request_has_never_more_rows_than_a_server_takes():
    parts = list(batches(addressed(pl.DataFrame({"at": [START]*(2*MOST + 1)}), "at")))
    assert [part.height for _, part in parts] == [MOST, MOST, 1] and len({id for id, _ in parts}) == 3


@hypothesis_settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.lists(st.integers(0, 120), min_size=1, max_size=5))
def test_labels_told_in_parts_are_all_labels_once_and_never_early(seed, late, never, corrected, cuts):
    rows = addressed(world(300), "at")
    labels = arrivals(rows, "late", Lateness(late=late, never=never, corrected=corrected), seed)
    moments = sorted({START.replace(tzinfo=UTC) + timedelta(days=c) for c in cuts})
    parts = [come(labels, since, until) for since, until in zip([None, *moments], [*moments, datetime(2027, 1, 1, tzinfo=UTC)], strict=True)]
    assert pl.concat(parts).equals(labels) and (labels["arrived"] >= labels["label_time"]).all()
    assert labels.equals(arrivals(rows, "late", Lateness(late=late, never=never, corrected=corrected), seed))


def test_a_corrected_label_is_right_in_the_end():
    rows = addressed(world(), "at")
    labels = arrivals(rows, "late", Lateness(never=0, corrected=0.3))
    final = known(rows, labels, "late", datetime(2027, 1, 1, tzinfo=UTC))
    assert final["late"].equals(rows["late"]) and labels.height > 1.2*rows.height


@pytest.mark.slow
def test_a_stream_that_was_cut_off_is_logged_once(tmp_path):
    from model_ops.predictions import log
    from model_ops.serve import process
    from model_ops.serve.client import Client
    from serving_book import parcels, serving_book
    book = serving_book(tmp_path/"book", versions=1)
    frame = parcels(3000).with_columns(at=pl.Series([START + timedelta(minutes=10*i) for i in range(3000)]))
    rows, columns = addressed(frame, "at"), [c for c in frame.columns if c not in ("at", "late")]
    with process.start(book.settings) as server, Client(server.url) as client:
        def broken(table, id):
            if id == rows["request_id"][1500]: raise KeyboardInterrupt
            return client.predict(table, id=id)
        with pytest.raises(KeyboardInterrupt): send(broken, rows, columns)
        assert send(client.predict, rows, columns) == {"1": 3000}
    found = log.read(book.settings.section("log")["folder"]).select("request_id", "row")
    assert found.height == 3000 and found.sort("request_id", "row").equals(rows.select("request_id", "row").sort("request_id", "row"))


# the rivals


@hypothesis_settings(deadline=None, max_examples=20)
@given(st.integers(0, 40), st.integers(0, 100))
def test_what_was_known_on_a_day_does_not_depend_on_what_came_later(day, seed):
    rows = addressed(world(500), "at")
    labels, until = arrivals(rows, "late", Lateness(corrected=0.2), seed), START.replace(tzinfo=UTC) + timedelta(days=day)
    later = labels.with_columns(label=pl.when(pl.col("arrived") >= until).then(pl.lit("true")).otherwise("label"))
    assert known(rows, labels, "late", until).equals(known(rows, later, "late", until))


@pytest.mark.parametrize("text", ["90", "d", "-3d", "3 months", ""])
def test_a_length_that_is_none_is_named(text):
    with pytest.raises(ParameterError, match="90d"): days(text)


def test_windows_end_where_labels_are_complete():
    now = datetime(2026, 6, 1)
    assert Learning("2w", ("1w",), within_days=3).window(now) == (datetime(2026, 5, 8), datetime(2026, 5, 22))
    assert Learning("2w", ("1w",), growing=True).window(now) == (None, datetime(2026, 5, 25))


def test_a_rival_by_the_calendar_follows_the_change_and_the_first_month_is_everybodys():
    from model_ops.data.contract import learn
    frame = world(8000, minutes=20)
    rows = addressed(frame, "at")
    labels, contract, params = arrivals(rows, "late", Lateness()), learn(frame, target="late", time="at"), {"max_iter": 20, "max_leaf_nodes": 8}
    month = lambda m: datetime(2026, m, 1, tzinfo=UTC)
    months = [(month(2), month(3)), (month(3), month(4)), (month(4), month(5))]
    first = learned(known(rows, labels, "late", month(2)), contract, params)(rows)
    score = monthly(rows, labels, months, first, Learning("28d"), contract=contract, told=params)
    at = {m: ((rows["event"] >= a) & (rows["event"] < b)).to_numpy() for m, (a, b) in enumerate(months, 2)}
    truth = rows["late"].to_numpy()
    assert (score[at[2]] == first[at[2]]).all() and np.isnan(score[:10]).all()
    assert log_losses(truth[at[4]], score[at[4]]).mean() < log_losses(truth[at[4]], first[at[4]]).mean() - 0.01


@pytest.mark.parametrize("told", [{"estimator": "linear"}, {"search": {"trials": 3}}, {"fitting": {"balance": True}}], ids=["estimator", "search", "fitting"])
def test_a_rival_says_which_recipe_it_does_not_know(told):
    from model_ops.data.contract import learn
    with pytest.raises(ParameterError): recipe(told, learn(world(200), target="late", time="at"))


# the gain


@hypothesis_settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.floats(0.1, 10), st.floats(0, 500), st.integers(0, 9), st.integers(0, 9))
def test_a_gain_is_the_loss_saved_at_its_price_less_the_retrainings(seed, value, cost, ours, others):
    rng = np.random.default_rng(seed)
    a, b, day = rng.random(600), rng.random(600), np.repeat(np.arange(30), 20)
    found = gained("it", a, b, day, retrainings=ours, others=others, value=value, cost=cost, resamples=100)
    expected = value*(b - a).sum() - cost*(ours - others)
    assert found.net.value == pytest.approx(expected, rel=1e-4, abs=1e-2) and found.net.low <= found.net.value <= found.net.high
    if ours != others: assert value*(b - a).sum() - found.break_even*(ours - others) == pytest.approx(0, abs=1e-2)


def test_losses_are_scikit_learns():
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, 1000), rng.random(1000).astype(np.float32)
    assert log_losses(y, p).mean() == pytest.approx(log_loss(y, p.astype(float)), rel=1e-6)


def test_the_interval_covers_what_was_saved_about_as_often_as_it_says():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(200):
        daily = np.repeat(np.convolve(rng.normal(0, 1, 121), [0.7, 0.7], "valid"), 5)  # neighbouring days hang together
        found = gained("it", np.zeros(600), daily + 0.1, np.repeat(np.arange(120), 5), retrainings=0, others=0, resamples=200)
        inside += found.saved.low <= 60 <= found.saved.high
    assert 0.9 <= inside/200 <= 0.99


def test_prices_say_where_the_loop_is_ahead_of_all():
    day, ours = np.repeat(np.arange(40), 10), np.full(400, 0.5)
    never = gained("never", ours, ours + 0.1, day, retrainings=2, others=0)
    often = gained("monthly", ours, ours - 0.02, day, retrainings=2, others=6)
    assert prices([never, often]) == (pytest.approx(2), pytest.approx(20))
    worse = gained("equal", ours, ours - 0.1, day, retrainings=2, others=2)
    assert prices([worse, never])[0] > 1e9


# the story


def story(seconds: dict | None = None) -> Story:
    day = np.repeat(np.arange(np.datetime64("2026-04-01"), np.datetime64("2026-06-01")), 40)
    rng = np.random.default_rng(0)
    y, score = rng.integers(0, 2, day.size), rng.random(day.size)
    months = [Month(name=f"2026-0{m}", rows=1200, labelled=0.9, version="1", conclusion="watch", reason="<b>Labels</b> are missing.", alarms=["ModelLabelsMissing"], after="1", choice="Wait.") for m in (4, 5)]
    return told(months, day.astype("datetime64[M]").astype(str), day, y, {OURS: score, NEVER: score, MONTHLY: 1 - score}, {OURS: 0, NEVER: 0, MONTHLY: 1}, noun="parcels", words={"seed": 3}, learned="", costs={"cost": 5}, seconds=seconds)


def told_again(base: Story, gains: list) -> str:
    return headline(base.model_copy(update={"gains": gains}))


def test_a_story_is_the_same_however_long_it_took():
    assert story().identity == story({"sending": 3.2}).identity and Story.from_json(story({"sending": 3.2}).to_json()) == story({"sending": 3.2})
    assert story().gains[0].net.value == 0 and story().gains[0].break_even is None and story().gains[0].same and not story().gains[1].same
    assert "never trained" not in story().summary and "did the same as a model that is never trained anew" in story().text()


def test_the_page_needs_no_script_and_escapes_what_is_foreign():
    html = page(story(), "a<year>")
    assert "<script" not in html and "<b>Labels" not in html and "&lt;b&gt;Labels" in html and "http" not in html.replace("http-equiv", "").replace("http://www.w3.org", "")
    assert "ModelLabelsMissing" in html and "2026-05" in html and "seed" in html


@pytest.mark.parametrize("alarms,said", [([[], []], "No alert about the model fired, but April and May ended with an open question"), ([["ModelDriftMatters"], []], "No other alert about the model fired, but May ended")], ids=["none", "one"])
def test_a_month_to_watch_is_no_alarm(alarms, said):
    quiet = story().model_copy(update={"months": [m.model_copy(update={"alarms": a}) for m, a in zip(story().months, alarms, strict=True)]})
    html = page(quiet, "year")
    assert said in html and ("<th>alerts</th>" in html) == any(alarms)


def test_a_model_that_was_wanted_and_held_back_is_told():
    held = story().model_copy(update={"months": [m.model_copy(update={"triggers": ["value"]} if m.name == "2026-05" else {}) for m in story().months]})
    assert headline(held).startswith("In May a new model was expected to be worth its cost, but held back: version 1 answered all along.")


@pytest.mark.parametrize("low,high,said", [(-3, 9, "may be chance"), (1, 9, "surely"), (-9, -1, "surely")], ids=["open", "gained", "lost"])
def test_a_gain_is_called_sure_only_where_its_interval_leaves_no_doubt(low, high, said):
    base = story()
    net = base.gains[1].net.model_copy(update={"value": (low + high)/2, "low": low, "high": high})
    sentence = told_again(base, [base.gains[1].model_copy(update={"net": net})])
    assert said in sentence and ("surely" in sentence) == (said == "surely") and ("lost 5" in sentence) == (high < 0)


@pytest.mark.parametrize("retrained,outcome,said", [([], "", "In none of 2 months was a new model called for"), (["2026-04"], "promoted", "In April a new model was expected to be worth its cost; it was trained and, as the gates let it pass, took over"),
                                                    (["2026-04", "2026-05"], "kept", "In April and May a new model was expected to be worth its cost; it was trained but did not take over")], ids=["never", "once", "kept"])
def test_the_headline_says_what_happened(retrained, outcome, said):
    base = story()
    months = [m.model_copy(update={"retrained": True, "outcome": outcome, "triggers": ["value"]} if m.name in retrained else {}) for m in base.months]
    assert told_again(base.model_copy(update={"months": months}), []).startswith(said)


# the replay itself


@pytest.mark.parametrize("text,months", [("2013-11..2014-02", ("2013-11", "2013-12", "2014-01", "2014-02")), ("2013-04", ("2013-04",))], ids=["over-new-year", "one"])
def test_months_are_those_between(text, months):
    assert months_of(text) == months
    spans = Asked(months).spans
    assert all(a[1] == b[0] for a, b in zip(spans, spans[1:], strict=False)) and spans[0][0].day == 1


@pytest.mark.parametrize("text", ["april", "2013-05..2013-04", "2013-13", "2000-01..2013-12", ""])
def test_months_that_are_none_are_named(text):
    with pytest.raises(ParameterError, match="months"): months_of(text)


@pytest.mark.parametrize("other", [{"seed": 1}, {"sample": 5}, {"months": ("2013-05",)}, {"policy": {"growing": False}}], ids=["seed", "sample", "months", "policy"])
def test_a_replay_goes_on_only_as_it_was_asked_for(tmp_path, other):
    asked = Asked(("2013-04",), policy={"growing": True})
    state = State.of(tmp_path, asked)
    state.present = {"name": "2013-04", "rows": 5}
    state.save()
    assert State.of(tmp_path, asked).present["rows"] == 5
    with pytest.raises(ParameterError, match=f"another {next(iter(other))}"): State.of(tmp_path, Asked(**{"months": ("2013-04",), "policy": {"growing": True}, **other}))


@pytest.mark.parametrize("told,error", [({"months": "2013-01..2013-02"}, DataError), ({"months": "2014-01..2014-02"}, DataError), ({"policy": {"growning": True}}, ParameterError)], ids=["nothing-before", "another-year", "policy"])
def test_nothing_is_made_for_a_replay_that_cannot_be(tmp_path, told, error):
    with pytest.raises(error): replays.replay(tmp_path/"year", sample=20_000, told=None, **told)
    assert not (tmp_path/"year").exists()


def test_every_alarm_of_a_replay_is_an_alert_that_exists():
    assert set(replays.ALARMS) <= {alert.name for alert in alerts.table_of("flights", {})}


@pytest.mark.slow
def test_a_replay_that_is_stopped_goes_on_counts_every_flight_once_and_says_the_same_as_one_that_is_not(tmp_path, monkeypatch):
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "replay")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "replay@localhost")
    from model_ops.monitor.book import Book
    from model_ops.predictions import log
    from model_ops.registry.ledger import Ledger
    asked = dict(months="2013-04..2013-05", sample=8_000, seed=0, policy={"least_rows": 10**6})  # nothing is trained anew: this is about the way there
    def until(words):
        def told(line):
            if words in line: raise KeyboardInterrupt
        with pytest.raises(KeyboardInterrupt): replays.replay(tmp_path/"year", told=told, **asked)
    until("version 1 was trained")
    shutil.copytree(tmp_path/"year", tmp_path/"again", symlinks=True)
    until("with a label")
    state = json.loads((tmp_path/"year"/STATE).read_text())
    assert state["months"] == [] and state["present"]["conclusion"] in ("fine", "watch", "retrain", "roll back")
    found = replays.replay(tmp_path/"year", told=None, **asked)
    settings = Settings.load(tmp_path/"year")
    rows = log.read(settings.section("log")["folder"])
    assert rows.height == sum(m.rows for m in found.months) == rows.select("request_id", "row").n_unique()
    assert {t.date() for t in rows["event_time"]} <= {date(2013, 4, 1) + timedelta(days=i) for i in range(61)}
    assert found.parity < 1e-5 and len(Book(settings.ledger_url).entries("health")) == 2 and len(Book(settings.ledger_url).entries("choice")) == 1
    assert Ledger(settings.ledger_url).champion().kind == "approve"  # so few flights settle no gate, and somebody has to answer
    assert Story.load(settings.path("records", "replay.json")) == found and settings.path("reports", "replay.html").exists()
    assert replays.replay(tmp_path/"again", told=None, **asked).identity == found.identity


def test_alarms_are_those_that_the_rules_would_raise():
    from model_ops.monitor.policy import Policy
    from monitored_window import report, window
    calm, policy = report(window(rows=600, seed=2)), Policy()
    assert replays.alarms(calm, policy) == []
    assert replays.alarms(report(window(rows=600, flip=0.4)), policy) == ["ModelPerformanceRealized"]
    assert "ModelDataQuality" in replays.alarms(report(window(rows=600, nulls=0.4)), policy)
    old = calm.model_copy(update={"training": calm.training.model_copy(update={"age_days": 400.0})})
    assert replays.alarms(old, policy) == [], "labels speak for it"
    silent = report(window(rows=600, share=0.0))
    aged = silent.model_copy(update={"training": silent.training.model_copy(update={"age_days": 400.0})})
    assert "ModelStale" in replays.alarms(aged, policy) and "ModelStale" not in replays.alarms(aged, Policy(stale_days=0))
    assert set(replays.ALARMS) <= {a.name for a in alerts.table_of("parcels", {})}
