"""The model card: complete or not, quoted from records, safe in both languages."""
import json
import pytest
from markdown_it import MarkdownIt
from model_ops.data.contract import Column, Contract
from model_ops.errors import ParameterError
from model_ops.package.manifest import File, Input, Manifest, Origin
from model_ops.release.card import Card, Told, card

ODD = "<script>alert(1)</script> [x](javascript:y) | **b**"
CONTRACT = Contract(task="binary", positive="yes", columns={"a": Column(dtype="number"), "y": Column(dtype="category", role="target", categories=["no", "yes"])})
MANIFEST = Manifest(summary=f"Is it {ODD}?", task="binary", target=ODD, classes=["no", ODD], threshold=0.5, inputs=[Input(name=ODD, dtype="number", nullable=True)], format="onnx", contract=CONTRACT.digest,
                    files={"model.onnx": File(sha256="ab"*32, size=1)}, origin=Origin(estimator="Model()", metrics={"roc_auc": 0.7}))
WINDOW = {"name": "test", "digest": None, "rows": 900, "positives": .3, "from": "2024-01-01", "to": "2024-02-01", "blocks": 31, "unit": "days"}
INTERVAL = {"value": .7, "low": .65, "high": .75, "reason": ""}
EVALUATION = {"summary": f"The challenger {ODD} is better.", "task": "binary", "target": ODD, "noun": "rows", "headline": "roc_auc", "better": {"roc_auc": "higher", "log_loss": "lower"}, "window": WINDOW, "inference": {"level": .99},
              "models": {"challenger": {"metrics": {"roc_auc": INTERVAL, "log_loss": {"value": None, "low": None, "high": None, "reason": "x"}}}}, "differences": {"opponent": {"roc_auc": INTERVAL}}, "notes": [ODD],
              "periods": [{"name": n, "metrics": {"roc_auc": INTERVAL | {"value": v}}} for n, v in (("January", .68), ("June", .72))],
              "slices": {"metric": "roc_auc", "parts": [{"column": ODD, "value": ODD, "rows": 300, "metric": INTERVAL | {"value": .6 + k/100}} for k in range(5)]}}
DIAGNOSIS = {"summary": f"It over-fits {ODD}.", "advice": [{"what": "Fewer leaves", "why": "the gap", "param": "max_leaf_nodes", "value": 15}],
             "groups": {"gaps": [{"column": ODD, "rate": "false positive rate", "high": ODD, "low": "b", "size": INTERVAL}]},
             "weak": {"slices": [{"conditions": [[ODD, "x"], ["a", "over 3"]], "rows": 40, "loss": .9, "elsewhere": .3}], "sentence": ""},
             "robustness": {"metric": "roc_auc", "harms": [{"kind": "noise", "size": 1.0, "loss": INTERVAL}, {"kind": "missing", "column": ODD, "size": 0, "loss": INTERVAL}]}}
TOLD = {"purpose": f"Decide.\n\n{ODD}", "not_for": "Hiring.", "owner": ODD, "contact": "a@b.c", "ethics": "# Who\n- list"}
PLAIN = {"manifest": json.loads(MANIFEST.to_json()), "contract": json.loads(CONTRACT.to_json()), "training": {"summary": "Fitted.", "threshold_why": "0.5, the best F1."}, "evaluation": EVALUATION,
         "verdict": {"summary": ODD, "todo": "Wait.", "outcome": "stable"}, "diagnosis": DIAGNOSIS}


def test_a_complete_card():
    found = card(**PLAIN, told=TOLD)
    assert found.missing == [] and found.package == MANIFEST.digest and Card.from_json(found.to_json()) == found
    titles = [s.title for s in found.sections]
    assert titles == ["What it is for", "What it is not for", "Who may be harmed", "What it answers", "How well it does", "For whom it does worse", "How it behaves", "The present against the past", "How it came to be", "What it reads"]
    text = found.markdown()
    for said in ("0.600 (0.650 to 0.750)", "99 % interval", "Over 2 test periods", "false positive rate", "Weak where", "noise of 1 standard deviations", "missing values", "Fewer leaves", "0.5, the best F1"): assert said in text, said
    assert "\\# Who - list" in text


def test_nothing_foreign_means_anything():
    found = card(**PLAIN, told=TOLD)
    page, seen = found.page(), MarkdownIt("commonmark").enable("table").render(found.markdown())
    for text in (page, seen, str(found.__html__())): assert "<script" not in text and "<a " not in text and "javascript:y\"" not in text
    assert "<strong" not in seen and "<em" not in seen and seen.count("<table>") == 1 and seen.count("<h1>") == 1
    assert "Content-Security-Policy" in page and "http://" not in page.replace("http://www.w3.org/2000/svg", "") and "https://" not in page and "alert(1)" in page


def test_a_long_word_of_people_is_not_cut():
    found = card(told={**TOLD, "ethics": "word "*400})
    assert ("word "*400).strip() in found.page() and ("word "*400).strip() in found.markdown()


@pytest.mark.parametrize("gone", list(PLAIN))
def test_each_record_may_be_missing(gone):
    found = card(**{**PLAIN, gone: None}, told=TOLD)
    assert found.missing == [gone] and "No record of" in found.markdown() and "1 missing" in found.page()


@pytest.mark.parametrize("gone", list(Told.model_fields))
def test_each_word_of_people_may_be_missing(gone):
    found = card(**PLAIN, told={**TOLD, gone: "  "})
    assert found.missing == [gone] and "Not told" in found.markdown()


def test_of_nothing():
    found = card()
    assert found.missing == [*Told.model_fields, "manifest", "contract", "training", "evaluation", "verdict", "diagnosis"] and "Nothing is known" in found.page()


def test_without_an_evaluation_the_package_speaks():
    assert "Measured on the validation window" in card(manifest=PLAIN["manifest"]).markdown()


@pytest.mark.parametrize("told, said", [({"purpos": "x"}, "purpose"), ({"owner": 3}, "owner")])
def test_what_it_is_told_is_checked(told, said):
    with pytest.raises(ParameterError, match=said): card(told=told)


def test_records_that_lack_newer_fields():
    old = {k: v for k, v in EVALUATION.items() if k not in ("periods", "inference")}
    assert "95 % interval" in card(evaluation=old).markdown() and "Over" not in card(evaluation=old).markdown()
    assert card(evaluation={**old, "slices": None, "differences": {}}).sections
