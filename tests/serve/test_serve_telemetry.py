"Metrics: right across workers, deaths and restarts; nothing that a client invents becomes a label."
import shutil
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from model_ops.data.contract import learn
from model_ops.serve.counters import ROOM, Counters, Shared, read, read_counters
from model_ops.serve.exposition import BOUNDS, METRICS, PREFIX, rendered
from model_ops.serve.telemetry import Telemetry, score_bounds


def _served(**more):
    facts = dict(name="parcels", version="7", digest="3f" * 32, task="binary", classes=("false", "true"), contract=None, inputs=[SimpleNamespace(name="kilos"), SimpleNamespace(name="depot")])
    return SimpleNamespace(**{**facts, **more})


def _said(telemetry):
    "Every sample of the text: (name, labels) → value."
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in text_string_to_metric_families(telemetry.render().decode()) for s in f.samples}


def _value(telemetry, name, **labels): return _said(telemetry).get((PREFIX + name, tuple(sorted(labels.items()))))


WORKER = """
import sys
from pathlib import Path
from model_ops.serve.telemetry import Telemetry
telemetry = Telemetry(Path(sys.argv[1]), sys.argv[2])
telemetry.inflight(1)
for i in range(int(sys.argv[3])): telemetry.answered("v2", 2, 0.0, 0.001, 0.0, 0.001)
print("counted", flush=True)
sys.stdin.read()
"""


def test_counts_of_processes_are_added_up_and_outlast_kill_9(tmp_path):
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), f"w{i}", str(1000 * (i + 1))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for i in range(2)]
    try:
        for worker in workers: assert worker.stdout.readline() == "counted\n"
        asked = Telemetry(tmp_path, "asked")
        assert _value(asked, "requests_total", protocol="v2", outcome="answered") == 3000 and _value(asked, "rows_total", protocol="v2") == 6000
        assert _value(asked, "workers") == 3 and _value(asked, "inflight") == 2
        workers[0].kill()
        workers[0].wait()
        assert _value(asked, "requests_total", protocol="v2", outcome="answered") == 3000, "what a killed worker counted still counts"
        assert _value(asked, "workers") == 2 and _value(asked, "inflight") == 1, "what was true of it only at that moment does not"
        again = Telemetry(tmp_path, "w0")
        again.answered("v2", 2, 0.0, 0.001, 0.0, 0.001)
        assert _value(asked, "requests_total", protocol="v2", outcome="answered") == 3001 and _value(asked, "worker_deaths_total") == 1
    finally:
        for worker in workers: worker.kill(); worker.communicate()


def test_an_orderly_end_is_no_death(tmp_path):
    first = Telemetry(tmp_path, "w0")
    first.refused("v2", 422)
    first.close()
    second = Telemetry(tmp_path, "w0")
    assert _value(second, "worker_deaths_total") == 0 and _value(second, "requests_total", protocol="v2", outcome="422") == 1


def test_two_living_workers_of_one_name_do_not_share_a_file(tmp_path):
    one, two = Telemetry(tmp_path, "w0"), Telemetry(tmp_path, "w0")
    for worker in (one, two, two): worker.refused("grpc", 429)
    assert _value(one, "requests_total", protocol="grpc", outcome="429") == 3 and len(list((tmp_path/"telemetry").iterdir())) == 2


@settings(deadline=None, max_examples=30)
@given(seconds=st.lists(st.floats(0, 20, allow_nan=False), min_size=1, max_size=60))
def test_a_histogram_says_how_many_were_at_most_each_limit(tmp_path_factory, seconds):
    telemetry = Telemetry(tmp_path_factory.mktemp("t"), "w0")
    for s in seconds: telemetry.answered("v2", 1, s, 0.0, 0.0, s)
    said = _said(telemetry)
    for name, labels in (("request_seconds", (("protocol", "v2"),)), ("queue_seconds", ())):
        for bound in BOUNDS: assert said[f"{PREFIX}{name}_bucket", tuple(sorted((*labels, ("le", repr(bound)))))] == sum(s <= bound for s in seconds)
        assert said[f"{PREFIX}{name}_bucket", tuple(sorted((*labels, ("le", "+Inf"))))] == said[f"{PREFIX}{name}_count", labels] == len(seconds)
        assert said[f"{PREFIX}{name}_sum", labels] == pytest.approx(sum(seconds))
    telemetry.close()


@settings(deadline=None, max_examples=30)
@given(name=st.text(min_size=1, max_size=40))
def test_any_column_name_is_escaped(tmp_path_factory, name):
    telemetry = Telemetry(tmp_path_factory.mktemp("t"), "w0")
    telemetry.version(_served(inputs=[SimpleNamespace(name=name)]))
    telemetry.violated(((name, "range", 3),))
    if name.isprintable(): assert _value(telemetry, "violations_total", column=name, rule="range") == 3
    assert telemetry.render().count(b"model_ops_violations_total{") == 1
    telemetry.close()


def test_a_column_that_a_client_made_up_is_no_label(tmp_path):
    telemetry = Telemetry(tmp_path, "w0")
    telemetry.version(_served())
    for i in range(500): telemetry.violated(((f"made up {i}", "presence", 1),))
    assert _value(telemetry, "violations_total", column="other", rule="presence") == 500 and b"made up" not in telemetry.render()


def test_labels_and_scores_of_each_version_are_counted(tmp_path):
    telemetry, rng = Telemetry(tmp_path, "w0"), np.random.default_rng(0)
    score = rng.random(2000)
    for version, digest in (("7", "a" * 64), ("8", "b" * 64)):
        for part in np.split(score, 20): telemetry.predicted(_served(version=version, digest=digest), {"score": part, "label": np.where(part < 0.3, "false", "true")})
    telemetry.predicted(_served(version="8", digest="b" * 64), {"score": np.array([0.5]), "label": np.array(["a class that the package does not have"])})
    said = _said(telemetry)
    for version, more in (("7", 0), ("8", 1)):
        assert said["model_ops_predictions_total", (("label", "false"), ("version", version))] == (score < 0.3).sum()
        assert said["model_ops_score_bucket", (("le", "0.25"), ("version", version))] == (score <= 0.25).sum()
        assert said["model_ops_score_count", (("version", version),)] == 2000 + more
    assert said["model_ops_predictions_total", (("label", "other"), ("version", "8"))] == 1


def test_scores_of_a_regression_lie_between_the_smallest_and_the_largest_target():
    contract = learn(pl.DataFrame({"x": range(200), "minutes": [float(i % 41) for i in range(200)]}), target="minutes")
    assert score_bounds(_served(task="regression", classes=(), contract=contract)) == tuple(float(2 * i) for i in range(21))
    assert score_bounds(_served(task="", classes=())) == (), "of a model that is no package of ours nothing is known"


def test_the_worst_of_the_living_workers_counts(tmp_path):
    one, two = Telemetry(tmp_path, "w0"), Telemetry(tmp_path, "w1")
    for worker in (one, two): worker.version(_served())
    two.trouble("The ledger is out of reach.", "No space left.")
    assert (_value(one, "ledger_reachable"), _value(one, "log_writable")) == (0, 0)
    two.version(_served(version="8", digest="b" * 64))
    versions = {dict(labels)["version"]: value for (name, labels), value in _said(one).items() if name == "model_ops_version_info"}
    assert versions == {"7": 1, "8": 1}
    two.close()
    assert (_value(one, "ledger_reachable"), _value(one, "log_writable")) == (1, 1)


def test_a_torn_or_foreign_file_is_started_anew(tmp_path):
    telemetry = Telemetry(tmp_path, "w0")
    telemetry.refused("v2", 422)
    telemetry.close()
    file = tmp_path/"telemetry"/"w0.counters"
    content = bytearray(file.read_bytes())
    names = content.index(b'["requests"')
    content[names:names + 40] = bytes(40)
    file.write_bytes(content)
    (tmp_path/"telemetry"/"w1.counters").write_bytes(b"short")
    again = Telemetry(tmp_path, "w0")
    again.refused("v2", 422)
    assert _value(again, "requests_total", protocol="v2", outcome="422") == 1 and _value(Telemetry(tmp_path, "w1"), "workers") == 2


FULL = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # no file may grow beyond 2,000 bytes
from model_ops.serve.telemetry import Telemetry
telemetry = Telemetry(Path(sys.argv[1]), "w0")
telemetry.answered("v2", 1, 0.0, 0.0, 0.0, 0.001)
telemetry.close()
print(telemetry.counters.shared.trouble)
"""


def test_where_no_file_can_be_written_the_worker_counts_in_memory(tmp_path):
    said = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True)
    assert said.returncode == 0 and said.stdout.startswith("Counting in memory only, for w0.counters cannot be written"), said.stderr
    assert not list((tmp_path/"telemetry").iterdir()), "nothing half-made is left"


def test_more_names_than_there_is_room_for_harm_nothing(tmp_path):
    counters = Counters(tmp_path/"a.counters")
    first = counters.place(("first",))
    for i in range(ROOM): counters.add(("series", str(i)))
    assert counters.values[first] == 0 and counters.all()["series", "5"] == 1
    counters.close()
    assert read_counters(tmp_path/"a.counters")[0]["series", "5"] == 1
    assert Counters(tmp_path/"a.counters").all() == {}, "a file that is nearly full starts from zero with the next worker"


def test_counts_of_another_table_of_metrics_are_not_mixed_in(tmp_path):
    old = Counters(tmp_path/"telemetry"/"w0.counters", "an older table")
    old.add(("requests", "v2", "answered"), 5)
    old.close()
    Counters(tmp_path/"telemetry"/"w1.counters", "an older table").add(("requests", "v2", "answered"), 5)
    assert _value(Telemetry(tmp_path, "w0"), "requests_total", protocol="v2", outcome="answered") == 0


def test_a_file_that_somebody_reads_is_replaced_and_never_cut(tmp_path):
    one = Shared(tmp_path/"a", "layout 1", 5000)
    one.bytes[4999:] = b"x"
    one.close()
    two = Shared(tmp_path/"a", "layout 2", 10)
    assert one.bytes[4999:] == b"x" and read(tmp_path/"a")[0] == "layout 2"
    two.close()


def test_metrics_are_read_while_they_are_counted(tmp_path):
    telemetry, stop, seen, failed = Telemetry(tmp_path, "w0"), threading.Event(), [], []
    telemetry.version(_served())
    def ask():
        try:
            while not stop.is_set(): seen.append(_value(telemetry, "requests_total", protocol="v2", outcome="answered"))
        except Exception as e: failed.append(e)
    reader = threading.Thread(target=ask)
    reader.start()
    for i in range(20_000):
        telemetry.answered("v2", 1, 0.0, 0.001, 0.0, 0.001)
        if i % 10 == 0: telemetry.predicted(_served(), {"score": np.array([0.5]), "label": np.array([f"x{i}"])})
    stop.set()
    reader.join()
    assert not failed and seen == sorted(seen) and _value(telemetry, "requests_total", protocol="v2", outcome="answered") == 20_000
    assert _value(telemetry, "score_count", version="7") == 2000


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_itself_finds_nothing_to_complain_of(tmp_path):
    telemetry = Telemetry(tmp_path, "w0")
    telemetry.version(_served())
    telemetry.answered("v2", 1, 0.0, 0.001, 0.0, 0.001)
    telemetry.refused("v2", 422)
    telemetry.violated((("kilos", "range", 1),))
    telemetry.predicted(_served(), {"score": np.array([0.5]), "label": np.array(["true"])})
    (tmp_path/"settled.json").write_text('{"at": 1.0, "rows": 3, "bytes_waiting": 0, "oldest_waiting_s": null, "error": "", "doubles": 0, "conflicts": 0}')
    said = subprocess.run(["promtool", "check", "metrics"], input=telemetry.render(), capture_output=True)
    assert said.returncode == 0, said.stdout.decode() + said.stderr.decode()


def test_every_metric_of_the_table_is_in_the_text(tmp_path):
    telemetry = Telemetry(tmp_path, "w0")
    text = telemetry.render().decode()
    for name, (kind, _, says) in METRICS.items(): assert f"# HELP {PREFIX}{name}{'_total' if kind == 'counter' else ''} {says}" in text


@pytest.mark.parametrize("content", ["", "{", "[]", '{"at": "soon"}', '{"rows": 3}'], ids=["empty", "torn", "list", "text", "no-time"])
def test_what_the_settler_has_not_written_to_the_end_is_left_out(tmp_path, content):
    (tmp_path/"settled.json").write_text(content)
    text = Telemetry(tmp_path, "w0").render().decode()
    assert "model_ops_journal_bytes 0.0" in text and "journal_lag" not in text


def test_rendered_without_families(): assert rendered([]) == b""
