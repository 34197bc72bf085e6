"""The run comparer without a browser: what differs comes first, what is missing is said."""
import json

import pytest

from model_ops.widgets.runs import PICTURES, RunComparer, difference, figures
from model_ops.workbook.history import Run, remember

HOSTILE = '<img src=x onerror="alert(1)">'


def evaluation(auc: float, digest: str = "a") -> dict:
    found = {"value": auc, "low": auc - 0.01, "high": auc + 0.01, "reason": ""}
    return {"kind": "evaluation", "better": {"roc_auc": "higher"}, "models": {"challenger": {"metrics": {"roc_auc": found, "f1": {"value": None, "low": None, "high": None, "reason": "no positive rows"}}}},
            "window": {"digest": digest, "from": "2024-01-01", "to": "2024-02-01", "rows": 10}, "curves": {"roc": {"challenger": {"x": [0, 1], "y": [0, 1], "rows": []}}, "pr": {}}}


def run(step: str = "evaluate", when: str = "2026-01-01T10:00:00", record: dict | None = None, **params) -> Run:
    return Run(step, "by hand", when, f"{HOSTILE} said", params, {"roc_auc": 0.7}, record or {})


RECORDS = {
    "evaluate": evaluation(0.7),
    "train": {"kind": "training", "metric": "roc_auc", "folds": [{"start": "2024-01-01", "metrics": {"roc_auc": 0.6}}, {"start": "2024-02-01", "metrics": {}}], "importance": [{"name": HOSTILE, "value": 0.1, "low": 0.05, "high": 0.2}]},
    "drift": {"kind": "verdict", "columns": {HOSTILE: {"effect": 0.1, "low": 0.0, "high": 0.2}, "other": {}}},
    "promote": {"kind": "decision", "gates": [{"name": HOSTILE, "outcome": "pass", "value": None}]},
    "prepare": {"kind": "prepared", "windows": [{"name": HOSTILE, "rows": 3}], "rejected": {}},
}


@pytest.mark.parametrize("step", RECORDS)
def test_every_step_has_its_pictures_and_bears_records_that_lack_all_but_their_kind(step):
    full, bare = RECORDS[step], {"kind": RECORDS[step]["kind"]}
    comparer = RunComparer(runs=[run(step, record=full, a=1), run(step, record=bare, a=2), run(step)])
    comparer.list.value = ("1", "2", "3")
    assert comparer.error is None and full["kind"] in PICTURES and "Without a record" in comparer.text()
    assert "<img" not in comparer.__html__()
    comparer.list.value = ("2",)
    assert comparer.error is None


def test_changed_parameters_come_first_and_the_others_are_folded_away():
    comparer = RunComparer(runs=[run(rate=0.1, seed=0), run(rate=0.2, seed=0, new=[HOSTILE])])
    html = comparer.__html__()
    assert html.index("<b>new</b>") < html.index("<b>rate</b>") < html.index("<details>") < html.index(">seed<")


def test_differences_are_held_against_the_baseline_that_was_chosen():
    comparer = RunComparer(runs=[run(record=evaluation(0.75)), run(record=evaluation(0.70)), run(record=evaluation(0.71))])
    assert "+0.050, better (the intervals lie apart)" in comparer.text() and comparer.baseline is comparer.runs[1]
    comparer.base.value = comparer.base.options[0]
    assert "−0.050, worse (the intervals lie apart)" in comparer.text()
    comparer.list.value = ("2", "3")
    assert "−0.010, worse (the intervals overlap)" in comparer.text() and [r.record for r in comparer.runs] == [evaluation(0.70), evaluation(0.71)]


def test_runs_that_were_judged_on_different_rows_are_said_to_be():
    same, other = (RunComparer(runs=[run(record=evaluation(0.7)), run(record=evaluation(0.7, digest))]).text() for digest in "ab")
    assert "different rows" in other and "different rows" not in same


def test_undefined_metrics_have_no_difference():
    found = figures(run(record=evaluation(0.7)))
    assert difference(found["f1"], found["roc_auc"], "higher") == "–" and found["f1"].reason == "no positive rows"


def test_notes_are_read_and_where_there_are_none_it_is_said(tmp_path):
    (tmp_path/"settings.ini").write_text("[workbook]\nname = small\n")
    comparer = RunComparer(root=tmp_path)
    assert "The step 'evaluate' has not run yet." in comparer.text() and comparer.runs == []
    for i in range(3): remember(run(when=f"2026-01-0{i + 1}T10:00:00", record=evaluation(0.7 + i/100), rate=i), tmp_path)
    remember(run("my_own_step", x=1), tmp_path)
    comparer = RunComparer(root=tmp_path)
    assert [r.params["rate"] for r in comparer.runs] == [2, 1] and len(comparer.list.options) == 3 and "my_own_step" in comparer.step.options
    comparer.step.value = "train"
    assert "The step 'train' has not run yet." in comparer.text() and comparer.runs == []
    comparer.step.value = "my_own_step"
    assert comparer.error is None and "there is no other one yet" in comparer.text()
    comparer.source.value = "mlflow"
    assert "MLflow has no runs" in comparer.text()


def test_a_comparison_can_be_gone_on_with():
    comparer = RunComparer(runs=[run(rate=0.1), run(rate=0.2)])
    assert [r.params for r in comparer.runs] == [{"rate": 0.1}, {"rate": 0.2}] and json.dumps(comparer.baseline.params)
