"What monitoring found, as Prometheus reads it: nothing unknown is told as a number, and a damaged file costs the server nothing."
import json
import math
import re
import shutil
import subprocess
import threading

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monitored_window import report, window
from prometheus_client.parser import text_string_to_metric_families

from model_ops.drift.compare import compare
from model_ops.drift.meaning import judge
from model_ops.drift.scores import Scores
from model_ops.errors import SettingsError
from model_ops.monitor import gauges
from model_ops.monitor.cause import Cause
from model_ops.monitor.health import CONCLUSIONS, Gap, Health, Stretch, Training
from model_ops.monitor.levels import Level
from model_ops.serve.exposition import MONITORED, PREFIX, monitored, of_monitor, rendered
from model_ops.serve.telemetry import Telemetry


MODEL = "late-parcels"


def _samples(text: bytes) -> dict:
    "(name, labels but the model) → value."
    return {(s.name.removeprefix(f"{PREFIX}monitor_"), tuple(sorted((name, value) for name, value in s.labels.items() if name != "model"))): s.value for f in text_string_to_metric_families(text.decode()) for s in f.samples}


@pytest.fixture(scope="module")
def windows():
    rng = np.random.default_rng(1)
    score = rng.beta(2, 5, 8000)
    truth = rng.random(8000) < score
    facts = dict(task="binary", classes=["false", "true"], threshold=0.4)
    then = Scores.of(score, truth, **facts)
    return {"then": then, "same": Scores.of(score, truth, like=then, **facts), "wrong": Scores.of(score, rng.permutation(truth), like=then, **facts), "unsure": Scores.of(0.3 + 0.2 * score, None, like=then, **facts)}


def _health(model=None, **told):
    rows = pl.DataFrame({"kilos": np.random.default_rng(0).normal(size=2000)})
    stretch = Stretch(since="2026-01-02T00:00:00+00:00", until="2026-02-01T00:00:00+00:00", as_of="2026-02-01T00:00:00+00:00", clock="event", rows=2000, days=30)
    facts = dict(conclusion="fine", because="nothing", reason="All is well.", todo="Nothing.", at="2026-02-01T05:00:00+00:00", window=stretch, verdict=compare(rows, rows, model=model), package="9c" * 32)
    return Health(**{**facts, "served": "3", **told})


def test_every_series_has_a_name_and_labels_of_the_table(windows):
    health = _health(judge(windows["then"], windows["wrong"], windows["wrong"]), causes=[Cause(name="new version", verdict="possible"), Cause(name="drift that matters", verdict="no")], maturity={"share": 0.5, "expected": 0.6, "missing": True},
                     gap=Gap(rows=10, share=0.1), training=Training(ended="2025-12-31"), levels=[Level(name="errors", value=0.5, limit=0.01, met=False, sentence="")], metrics={"worse_by_labels": 1.0, "worse_by_scores": 0.0})
    found = gauges.series(health)
    said = _samples(rendered(gauges.of(health, MODEL)))
    assert len(said) == len(found) == len({json.dumps(one[:2]) for one in found}) and {name for name, *_ in found} == set(MONITORED)
    assert said["worse", (("source", "realized"),)] == 1 and said["worse", (("source", "estimated"),)] == 0 and said["labels_missing", ()] == 1 and said["cause", (("cause", "new version"),)] == 0.5 and said["level_met", (("level", "errors"),)] == 0
    assert said["timestamp_seconds", ()] == 1769922000 and said["model_trained_timestamp_seconds", ()] == 1767139200 and said["gap_share", ()] == 0.1


def test_what_is_not_known_is_not_told():
    found = gauges.series(_health(levels=[Level(name="lag_s", value=None, limit=300, met=None, sentence="")]))
    names = {name for name, *_ in found}
    assert not names & {"labelled_share", "labels_missing", "gap_share", "model_trained_timestamp_seconds", "level_met", "worse", "metric", "loss", "cause", "drift_matters"}
    assert [value for name, _, value in found if name == "conclusion"] == [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("current, labelled, source", [("wrong", "wrong", "realized"), ("same", "same", "realized"), ("unsure", None, "estimated")], ids=["turned", "holds", "unlabelled"])
def test_who_judges_is_the_only_source_of_losses(windows, current, labelled, source):
    model = judge(windows["then"], windows[current], windows[labelled] if labelled else None)
    found = gauges.series(_health(model))
    assert {labels["source"] for name, labels, _ in found if name == "loss"} == {source}
    for name, labels, value in found:
        if name == "loss": assert value == getattr(model.metrics[labels["metric"]].loss, labels["bound"])
        if name == "harm": assert value == model.metrics[labels["metric"]].margin


@pytest.mark.skipif(not shutil.which("promtool"), reason="Prometheus is not installed: apt-get install prometheus")
def test_both_files_say_the_same_and_promtool_takes_the_text(tmp_path, windows):
    health = _health(judge(windows["then"], windows["wrong"]))
    assert gauges.write(health, tmp_path / "log", model=MODEL, textfile=tmp_path / "node") == tmp_path / "log/monitor.json"
    text = (tmp_path / "node/monitor-late-parcels.prom").read_bytes()
    assert text == (tmp_path / "log/monitor.prom").read_bytes() == rendered(of_monitor(tmp_path / "log")) == rendered(gauges.of(health, MODEL))
    checked = subprocess.run([shutil.which("promtool"), "check", "metrics"], input=text, capture_output=True)
    assert checked.returncode == 0, checked.stdout


def test_two_workbooks_with_one_folder_are_told_apart(tmp_path):
    for model, conclusion in (("late-parcels", "fine"), ("late parcels", "retrain"), ("späte/Pakete", "watch")): gauges.write(_health(conclusion=conclusion), tmp_path / model.replace("/", "-"), model=model, textfile=tmp_path / "node")
    found = sorted((tmp_path / "node").iterdir())
    assert len(found) == 3 and found[-1].name == "monitor-sp-te-Pakete-" + found[-1].name[-13:] and all(re.fullmatch(r"monitor-[A-Za-z0-9.-]+\.prom", p.name) for p in found)
    said = [s.labels for p in found for f in text_string_to_metric_families(p.read_text(encoding="utf-8")) for s in f.samples if s.name == "model_ops_monitor_conclusion" and s.value == 1]
    assert {(one["model"], one["conclusion"]) for one in said} == {("late-parcels", "fine"), ("late parcels", "retrain"), ("späte/Pakete", "watch")}
    assert all(s.labels["model"] == "late parcels" for f in of_monitor(tmp_path / "late parcels") for s in f.samples) and len(gauges.textfile_name("x" * 500)) < 120


def test_the_server_tells_it_with_its_own_metrics_and_forgets_nothing_else(tmp_path):
    server = Telemetry(tmp_path, "w0")
    server.refused("v2", 422)
    assert not any("monitor" in name for name, _ in _samples(server.render()))
    gauges.write(_health(conclusion="watch"), tmp_path, model=MODEL)
    said = _samples(server.render())
    assert said["conclusion", (("conclusion", "watch"),)] == 1 and said["model_ops_requests_total", (("outcome", "422"), ("protocol", "v2"))] == 1
    (tmp_path / "monitor.json").write_bytes(b'{"series": [["conclusion", {"conc')
    assert _samples(server.render())["model_ops_requests_total", (("outcome", "422"), ("protocol", "v2"))] == 1
    server.close()


def test_a_second_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"\[monitor\]") as error: gauges.write(_health(), tmp_path / "log", model=MODEL, textfile=tmp_path / "file")
    assert error.value.key == "textfile" and of_monitor(tmp_path / "log")


def test_two_monitors_at_once_never_leave_half_a_report(tmp_path):
    reports, stop = [_health(conclusion=name) for name in CONCLUSIONS], threading.Event()
    def keep(report):
        while not stop.is_set(): gauges.write(report, tmp_path, model=MODEL)
    gauges.write(reports[0], tmp_path, model=MODEL)
    threads = [threading.Thread(target=keep, args=[report]) for report in reports[:2]]
    for thread in threads: thread.start()
    try:
        for _ in range(100):
            said = _samples(rendered(of_monitor(tmp_path)))
            assert [said["conclusion", (("conclusion", name),)] for name in CONCLUSIONS] in ([1, 0, 0, 0], [0, 1, 0, 0])
    finally:
        stop.set()
        for thread in threads: thread.join()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["monitor.json", "monitor.prom"]


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8)
SERIES = st.lists(st.tuples(st.sampled_from([*MONITORED, "mood"]), st.dictionaries(st.sampled_from(["metric", "source", "bound", "cause", "conclusion"]), st.text(max_size=5) | st.integers(), max_size=3), st.floats() | st.integers() | st.none()) | JSON, max_size=6)


@settings(deadline=None, max_examples=60)
@given(left=st.fixed_dictionaries({"series": SERIES | JSON}) | JSON)
def test_whatever_stands_in_the_file_is_text_that_prometheus_reads(left):
    said = monitored(left.get("series") if isinstance(left, dict) else left, MODEL)
    for (name, labels), value in _samples(rendered(said)).items():
        assert name in MONITORED and {label for label, _ in labels} == set(MONITORED[name][0]) and isinstance(value, float)


@settings(deadline=None, max_examples=40)
@given(content=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")))
def test_no_file_can_stop_the_metrics(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("left")
    (folder / "monitor.json").write_bytes(content)
    assert isinstance(rendered(of_monitor(folder)), bytes)


def test_a_number_stays_what_it_was(tmp_path):
    (tmp_path / "monitor.json").write_text(json.dumps({"series": [["rows", {}, 10**7 + 1], ["labelled_share", {}, 0.1], ["gap_share", {}, 1e-300]]}))
    said = _samples(rendered(of_monitor(tmp_path)))
    assert said["rows", ()] == 10**7 + 1 and said["labelled_share", ()] == 0.1 and math.isclose(said["gap_share", ()], 1e-300)


@pytest.mark.parametrize("told, conclusion", [({}, "fine"), ({"flip": 0.6, "from_day": 0}, "retrain")], ids=["calm", "turned"])
def test_a_whole_report_becomes_numbers(told, conclusion):
    health = report(window(rows=600, seed=2, **told))
    said = _samples(rendered(gauges.of(health, MODEL)))
    assert len(said) == len(gauges.series(health)) and said["conclusion", (("conclusion", conclusion),)] == 1 and said["rows", ()] == health.window.rows
    assert said["worse", (("source", "realized"),)] == (conclusion == "retrain") == said["cause", (("cause", "change of the world"),)]
    assert {name for name, _ in said} >= set(MONITORED) - {"level_met"} and health == Health.from_json(health.to_json())
