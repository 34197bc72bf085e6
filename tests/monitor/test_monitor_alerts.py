"The alert rules: each on trial by Prometheus' own tool, made of metrics that exist, with limits that follow the parameters; and a known world through reports and gauges to alerts."
import dataclasses
import importlib.util
import json
import re
import shutil
import subprocess
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from model_ops.errors import ParameterError, SettingsError
from model_ops.monitor import dashboards, routes
from model_ops.monitor import incidents as trials
from model_ops.monitor.alerts import MONITOR, Alerts, job, rules, table_of
from model_ops.monitor.incidents import incidents
from model_ops.monitor.runbook import SECTIONS, runbook
from model_ops.serve.exposition import METRICS, MONITORED, PREFIX, of_live, of_log
from model_ops.settings import Settings

needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed: apt-get install prometheus")
TOLD = {"levels": {"errors": 0.05, "p99_ms": 300, "lag_s": 60, "quiet_hours": 5}, "alerts": {"quiet_minutes": 60, "monitor_hours": 5, "runbook": "https://wiki.example.org/runbook"}, "policy": {"stale_days": 90, "cooldown_days": 3}}


def _settings(folder, model="late-flights"):
    (folder / "settings.ini").write_text(f"[workbook]\nname = flights\n[registry]\nmodel = {model}\n", encoding="utf-8")
    return Settings.load(folder)


def _promtool(folder, *words):
    done = subprocess.run(["promtool", *words], cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("model", ["late-flights", '{it\'s} "späte" Flüge: [a] #1 / b|c & <d> {2', "航班"], ids=["plain", "many signs", "Chinese"])
def test_a_name_of_many_signs_is_told_as_it_is(tmp_path, model):
    settings = _settings(tmp_path, model)
    (tmp_path / "rules.yml").write_text(rules(settings, {}), encoding="utf-8")
    file = yaml.load(trials.tests(settings, {}), Loader=yaml.CSafeLoader)
    some = [t for t in file["tests"] if t["name"].split(":")[0] in ("ModelServerDown", "ModelRollBack")]
    (tmp_path / "some.yml").write_text(yaml.dump({**file, "tests": some}, Dumper=yaml.CSafeDumper, allow_unicode=True), encoding="utf-8")
    for words in (("check", "rules", "--lint-fatal", "rules.yml"), ("test", "rules", "some.yml")):
        code, said = _promtool(tmp_path, *words)
        assert code == 0, said


ODD = {"template": "a{{b}}", "end of one": "a}}b", "backtick": "a`b", "percent": "50% off", "format": "a%s", "dollar": "a$b", "variable": "a[[b]]", "end": "a]]b", "backslash": "a\\b", "next line": "x\u0085y", "tab": "a\tb", "bell": "a\ab", "no width": "a\u200bb"}

@pytest.mark.parametrize("model", ODD.values(), ids=ODD)
@pytest.mark.parametrize("make", [rules, trials.tests, routes.config, runbook, lambda settings, _: dashboards.dashboard(settings)], ids=["rules", "tests", "routes", "runbook", "dashboard"])
def test_a_name_that_would_be_read_otherwise_is_refused(tmp_path, model, make):
    settings = dataclasses.replace(_settings(tmp_path), model=model)
    with pytest.raises(SettingsError, match="registry.model.*cannot carry") as error: make(settings, {})
    assert error.value.key == "model" and "Change model in [registry]" in str(error.value)


@given(model=st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=12))
@hypothesis.settings(deadline=None, max_examples=40)
def test_any_name_is_refused_or_told_word_for_word(tmp_path_factory, model):
    settings = dataclasses.replace(_settings(tmp_path_factory.getbasetemp()), model=model)
    try: text = rules(settings, {})
    except SettingsError: return
    found = [rule for group in yaml.load(text, Loader=yaml.CSafeLoader)["groups"] for rule in group["rules"]]
    assert all(json.dumps(model, ensure_ascii=False) in rule["expr"] for rule in found) and f"No server of {model} answers." == found[0]["annotations"]["summary"]


def test_each_alert_says_what_to_do(tmp_path):
    page, groups = runbook(_settings(tmp_path), TOLD), yaml.safe_load(rules(_settings(tmp_path), TOLD))["groups"]
    found = [rule for group in groups for rule in group["rules"]]
    assert [r["alert"] for r in found] == list(SECTIONS) and {r["labels"]["severity"] for r in found} == {"page", "ticket"}
    for rule in found:
        text = rule["annotations"]
        assert "Next: " in text["description"] and re.search("cause|Either|status|waiting|full|error|slow|serves on|gone", text["description"])
        base, _, anchor = text["runbook_url"].partition("#")
        assert base == TOLD["alerts"]["runbook"] and f"\n## {rule['alert']}\n" in page and anchor == rule["alert"].lower()
        assert "late-flights" in text["summary"] or "$labels.instance" in text["summary"]


def test_rules_ask_for_metrics_that_are_exported(tmp_path):
    (tmp_path / "journal").mkdir()
    (tmp_path / "settled.json").write_text(json.dumps({"at": 0, "rows": 1}))
    live = SimpleNamespace(gauges=lambda: SimpleNamespace(rows=0, predictions=None, columns=[]), uncounted=[])
    families = {f.name + ("_total" if f.type == "counter" else "") for f in [*of_log(tmp_path), *of_live(live)]} | {f"{PREFIX}monitor_{name}" for name in MONITORED}
    for name, (kind, *_) in METRICS.items(): families |= {f"{PREFIX}{name}{end}" for end in {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(kind, [""])}
    text = rules(_settings(tmp_path), {})
    asked = set(re.findall(r"model_ops_[a-z0-9_]+", re.sub(r"model-ops [a-z ]+", "", text)))
    assert asked and asked <= families, asked - families


def test_every_query_names_the_job_and_what_the_monitor_says_the_model(tmp_path):
    settings = _settings(tmp_path)
    for rule in (r for g in yaml.safe_load(rules(settings, {}))["groups"] for r in g["rules"]):
        for text in (rule["expr"], *rule["annotations"].values()):
            for name, labels in re.findall(r"(model_ops_\w+|\bup)\{([^}]*)\}", text): assert labels.startswith(f'job="{job(settings)}"') and (f',model="{job(settings)}"' in labels) == name.startswith(MONITOR), text
            assert not re.search(r"model_ops_\w+(?![\w{])", text), text


def test_the_runbook_names_panels_that_are_there(tmp_path):
    named = {panel for section in SECTIONS.values() for line in section.look for panel in re.findall(r"panel \*([^*]+)\*", line)}
    text = json.dumps(dashboards.dashboard(_settings(tmp_path)))
    assert named and all(json.dumps(panel) in text for panel in named)


def test_each_alert_is_on_trial():
    for params in ({}, TOLD): assert {i.alert for i in incidents(params)} - {""} == {a.name for a in table_of("late-flights", params)}
    assert "ModelStale" not in {a.name for a in table_of("x", {"policy": {"stale_days": 0}})} | {i.alert for i in incidents({"policy": {"stale_days": 0}})}


@needs_promtool
@pytest.mark.slow
def test_each_alert_fires_on_its_incident_and_clears(tmp_path):
    settings = _settings(tmp_path)
    (tmp_path / "rules.yml").write_text(rules(settings, {}))
    for name, days in (("minutes.yml", False), ("days.yml", True)): (tmp_path / name).write_text(trials.tests(settings, {}, days=days))
    code, said = _promtool(tmp_path, "test", "rules", "minutes.yml", "days.yml")
    assert code == 0, said[:3000]


@needs_promtool
@pytest.mark.slow
def test_limits_follow_the_parameters_and_so_do_their_incidents(tmp_path):
    settings, limited = _settings(tmp_path), ("ModelServerErrors", "ModelServerSlow", "ModelNoTraffic", "PredictionLogLag", "ModelStale", "MonitorSilent", "nobody")
    (tmp_path / "rules.yml").write_text(rules(settings, TOLD))
    file = yaml.load(trials.tests(settings, TOLD), Loader=yaml.CSafeLoader)
    some = [t for t in file["tests"] if t["name"].split(":")[0] in limited]
    (tmp_path / "some.yml").write_text(yaml.dump({**file, "tests": some}, Dumper=yaml.CSafeDumper))
    code, said = _promtool(tmp_path, "test", "rules", "some.yml")
    assert code == 0 and {t["name"].split(":")[0] for t in some} == set(limited), said[:3000]


@needs_promtool
@pytest.mark.slow
def test_a_rule_that_is_deaf_or_nervous_fails_its_trial(tmp_path):
    settings = _settings(tmp_path)
    file = yaml.load(trials.tests(settings, {}), Loader=yaml.CSafeLoader)
    def trial(text, *alerts):
        (tmp_path / "rules.yml").write_text(text)
        (tmp_path / "some.yml").write_text(yaml.safe_dump({**file, "tests": [t for t in file["tests"] if t["name"].split(":")[0] in alerts]}))
        return _promtool(tmp_path, "test", "rules", "some.yml")[0]
    good = rules(settings, {})
    assert trial(good, "PredictionLogLag", "ModelStale", "nobody") == 0
    assert trial(good.replace("journal_lag_seconds{job=\"late-flights\"} > 300", "journal_lag_seconds{job=\"late-flights\"} > 3000"), "PredictionLogLag")
    assert trial(re.sub(r"unless on \(job, instance\) \(min by.*", "", good), "nobody")       # an old model that labels speak for
    assert trial(re.sub(r"and sum by \(job\).*?- 3 \* sqrt.*", "", good), "nobody")           # five failures
    assert trial(re.sub(r"last_over_time\((.*?)\[2h\]\)", r"\1", good), "ModelPerformanceRealized")  # a restart


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05])
def test_a_server_that_keeps_its_promise_by_half_is_left_alone(share):
    "The probability that the failures of one hour, at half the promised rate, are surely more than promised, over a year of hours."
    for requests in (10, 100, 1_000, 10_000, 100_000, 1_000_000):
        least = next(k for k in range(requests + 2) if k - 3 * k**0.5 > share * requests)
        assert 8760 * stats.binom.sf(least - 1, requests, share / 2) < 0.01


@pytest.mark.parametrize("wrong", [{"alerts": {"webhook": "chat.example.org"}}, {"alerts": {"monitor_hours": -1}}, {"alerts": {"nobody": 1}}, {"levels": {"p99_ms": 0}}, {"levels": {"p99_ms": 60_000}}, {"policy": {"stale_days": -1}}],
                         ids=["webhook", "hours", "unknown key", "p99", "p99 beyond the histogram", "stale"])
def test_wrong_parameters_are_named(tmp_path, wrong):
    block, told = next(iter(wrong.items()))
    with pytest.raises(ParameterError) as error: rules(_settings(tmp_path), wrong)
    assert f"{block}.{next(iter(told))}" in str(error.value) and "params/monitor.yaml" in str(error.value)


def test_the_block_is_as_the_parameters_have_it():
    assert Alerts() == Alerts.model_validate({}) and Alerts().model_config["frozen"] and Alerts().model_config["extra"] == "forbid"


@needs_promtool
@pytest.mark.slow
def test_a_known_world_from_the_log_to_the_alerts():
    "Nothing happens: nobody is called. Labels stop following the scores: the alert comes, with its cause."
    path = Path(__file__).parents[2] / "benchmarks" / "monitor_year.py"
    spec = importlib.util.spec_from_file_location("monitor_year", path)
    year = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(year)
    told = Namespace(rows=200, window=28, every=21, step="6h")
    for name in ("nothing", "labels follow the scores no longer"):
        _, _, after, _, alerts, missed = year.world(told, name)
        assert missed == "none" and (alerts == "none") == (name == "nothing"), (after, alerts)
