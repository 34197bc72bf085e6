"The Grafana dashboard: every panel says how it is read, and every query is answered by a real Prometheus that watches a real server."
import json
import re
import shutil
import subprocess
import urllib.request

import pytest
import yaml
from monitored_log import make, world
from prometheus_client.parser import text_string_to_metric_families

from model_ops.errors import PreflightError
from model_ops.monitor import stack
from model_ops.monitor.alerts import MONITOR, job
from model_ops.monitor.dashboards import ROWS, dashboard, names, queries
from model_ops.serve import process
from model_ops.serve.client import Client, ClientError
from model_ops.serve.exposition import MONITORED
from model_ops.settings import Settings


installed = pytest.mark.skipif(not all(map(shutil.which, ("promtool", "prometheus"))), reason="Prometheus is not installed: apt-get install prometheus")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("board")
    (root / "settings.ini").write_text('[workbook]\nname = parcels\n\n[registry]\nmodel = late "parcels"\n')
    return dashboard(Settings.load(root))


def test_each_panel_has_a_title_a_sentence_and_the_data_source_that_is_picked(made):
    panels = [p for p in made["panels"] if p["type"] != "row"]
    assert [p["title"] for p in made["panels"] if p["type"] == "row"] == list(ROWS) == ["Service", "Log", "Model", "Live drift", "Labels"]
    assert len({p["title"] for p in panels}) == len(panels)
    for panel in panels:
        assert panel["description"].endswith(".") and panel["datasource"]["uid"] == "${datasource}" and panel["targets"]
        assert all(t["datasource"]["uid"] == "${datasource}" and t["legendFormat"] for t in panel["targets"])
    assert [v["name"] for v in made["templating"]["list"]] == ["datasource"] and json.loads(json.dumps(made)) == made


def test_no_panel_lies_on_another(made):
    taken = set()
    for p in made["panels"]:
        at = p["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24
        taken |= cells


def test_every_selector_is_of_this_job_and_no_interval_follows_the_zoom(made):
    for query in queries(made):
        assert "$" not in query and names(query)
        selectors = re.findall(r'(model_ops_\w+)\{job="late \\"parcels\\""(,model="late \\"parcels\\"")?', query)
        assert len(re.findall(r"model_ops_\w+", query)) == len(selectors) and all(bool(model) == name.startswith(MONITOR) for name, model in selectors), query


@installed
def test_prometheus_can_read_every_query(made, tmp_path):
    rules = [{"record": f"panel:{i}", "expr": query} for i, query in enumerate(queries(made))]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    checked = subprocess.run([shutil.which("promtool"), "check", "rules", "rules.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert checked.returncode == 0 and f"{len(rules)} rules found" in checked.stdout, checked.stdout + checked.stderr


def test_queries_of_folded_rows_are_found_too():
    assert queries({"panels": [{"panels": [{"targets": [{"expr": "a"}]}]}, {"targets": [{"expr": "b"}, {"expr": ""}]}]}) == ["a", "b"]


@installed
@pytest.mark.slow
def test_every_panel_shows_data_of_a_real_server(tmp_path):
    settings = make(tmp_path / "book", days=2, rows=20, from_day=1, sections="\n[log]\nsettle_s = 0.3\n[serve]\nworkers = 1\n")
    values = {"conclusion": "watch", "metric": "roc_auc", "source": "estimated", "bound": "low", "cause": "data quality", "level": "errors"}
    series = [[name, {label: values[label] for label in labels}, 1.0] for name, (labels, _) in MONITORED.items()]
    (settings.path("predictions") / "monitor.json").write_text(json.dumps({"model": settings.model, "series": series}))
    rows = json.loads(world(2, 100, "2026-03-01").drop("returned", "probability").write_json())
    for row in rows[::10]: row["x1"] = 99.0
    with process.start(settings) as server, Client(server.url) as client, stack.start(settings, server=server, params={}, hurry=60) as watched:
        watched.until(lambda: watched.query("model_ops_workers"), "the server is asked")
        for at in range(0, 200, 20): client.feedback(["yes"] * 20, client.predict(rows[at:at + 20]))
        with pytest.raises(ClientError): client.predict([{"x0": 0.0}])
        asked = queries(dashboard(settings))
        silent = lambda: [query for query in asked if not watched.query(query)]
        try: watched.until(lambda: not silent(), "every panel shows data", timeout=30)
        except PreflightError: assert not silent()
        exported = {s.name for f in text_string_to_metric_families(urllib.request.urlopen(f"{server.url}/metrics").read().decode()) for s in f.samples}
        assert {name for query in asked for name in names(query)} <= exported
        rates = lambda: watched.number('sum(rate(model_ops_requests_total{outcome="answered"}[5m]))')
        assert watched.until(rates, "requests are scraped twice") > 0
        assert watched.query("model_ops_monitor_conclusion == 1")[0]["metric"] | {"instance": ""} == {"__name__": "model_ops_monitor_conclusion", "conclusion": "watch", "model": settings.model, "job": job(settings), "instance": ""}
