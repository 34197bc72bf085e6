"""Parameters: what is accepted arrives in its declared type, what is not is named, before anything runs."""
import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from model_ops import params
from model_ops.errors import ParameterError

CELL = params.parse_cell("""
n: int = 1  # count
x: float = 0.5  # share
on: bool = True  # switch
name: str = ""  # text
columns: list[str] = []  # some
table: dict = {}  # any
""")


@pytest.mark.parametrize("told, said", [
    ({"nn": 1}, "Did you mean 'n'?"), ({"n": True}, "type int"), ({"n": 1.0}, "type int"), ({"n": "1"}, "type int"), ({"x": "0.5"}, "type float"), ({"x": True}, "type float"),
    ({"on": 1}, "type bool"), ({"name": None}, "type str"), ({"columns": "a"}, "type list"), ({"columns": ["a", 2]}, "item 2"), ({"table": []}, "type dict")])
def test_a_wrong_value_is_named(told, said):
    with pytest.raises(ParameterError) as e:
        params.check(told, CELL, "params/x.yaml")
    assert said in str(e.value) and "params/x.yaml" in str(e.value) and e.value.exit_code == 2


BLOCKS = params.parse_cell("""
policy: "model_ops.monitor.policy:Policy" = {}  # when to train anew
alerts: "model_ops.monitor.alerts:Alerts" = {}  # whom to tell
search: "model_ops.train.space:Search" = {}  # what to try
gates: "model_ops.release.gates:Gates" = []  # what must hold
""")


@pytest.mark.parametrize("told, said", [
    ({"policy": {"cooldown": 7}}, "params/x.yaml: policy: unknown key 'cooldown'. Did you mean 'cooldown_days'? Known are every_days, drift, "),
    ({"policy": {"zzz": 7}}, "params/x.yaml: policy: unknown key 'zzz'. Known are every_days, "),
    ({"policy": {"cooldown_days": -1, "cooldown": 7}}, "unknown key 'cooldown'"),
    ({"policy": {"cooldown_days": -1}}, "params/x.yaml: policy, cooldown_days: Input should be greater than or equal to 0. See model_ops.monitor.policy:Policy."),
    ({"alerts": {"webhook": "chat"}}, "params/x.yaml: alerts, webhook: webhook is an address such as"),
    ({"alerts": {"mail": ["a@b"]}}, "params/x.yaml: alerts: mail needs mail_from"),
    ({"search": {"method": "grid", "families": {"logistic": {"C": {"low": 1, "high": 2, "lg": True}}}}}, "unknown key 'lg'. See model_ops.train.space:Search."),
    ({"policy": 3}, "params/x.yaml: policy: Input should be a valid dictionary"),
    ({"gates": [{"rule": "superiour", "metric": "roc_auc"}]}, "Did you mean 'superior'?")])
def test_a_wrong_block_is_named_in_our_words(told, said):
    with pytest.raises(ParameterError) as e:
        params.check(told, BLOCKS, "params/x.yaml")
    text = str(e.value)
    assert said in text and not any(words in text for words in ("Extra inputs", "Value error", "?.", "..", ": :"))


# A text that looks like a number as people write it (0E0) is written bare by YAML 1.1, and read as the number by us: that is the point.
words = st.text(st.characters(exclude_categories=["Cs", "Cc"])).filter(lambda text: not re.match(r"[-+]?[.\d]", text))
values = st.fixed_dictionaries({}, optional={"n": st.integers(), "x": st.floats(allow_nan=False) | st.integers(-10**6, 10**6), "on": st.booleans(), "name": words,
                                             "columns": st.lists(words), "table": st.dictionaries(words, st.integers())})


@settings(deadline=None, max_examples=100)
@given(values)
def test_what_yaml_writes_is_read_back_and_accepted(told):
    read = params.parse_yaml(yaml.safe_dump(told, allow_unicode=True))
    assert params.check(read, CELL) == told


@pytest.mark.parametrize("text, value", [("1e-3", 0.001), ("1E5", 1e5), ("-2.5e+3", -2500.0), ("1_000", 1000), ("2013-01-01", "2013-01-01"), (".5", 0.5), ("1.", 1.0), ("yes", True), ("'1e-3'", "1e-3"), ("1e", "1e"), ("e3", "e3")])
def test_numbers_are_read_as_people_write_them(text, value):
    found = params.parse_yaml(f"v: {text}")["v"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("text", ["a: 1\na: 2", "- 1", "a: [", "1: 2"])
def test_bad_yaml_is_a_clear_error(text):
    with pytest.raises(ParameterError):
        params.parse_yaml(text, "params/x.yaml")


@pytest.mark.parametrize("source", ["x = 1", "x: int", "x: int = y", "import os", "x: int = len([1])"])
def test_a_parameter_is_a_typed_literal(source):
    with pytest.raises(ParameterError):
        params.parse_cell(source)


def test_secrets_are_found_wherever_they_stand(monkeypatch):
    monkeypatch.setenv("A", "one")
    monkeypatch.setenv("B", "two")
    told = {"x": "env:A", "y": [{"z": "env:B"}], "w": "environment: env:A"}
    assert params.secrets(told) == {"A": "one", "B": "two"}
    assert params.resolve(told) == {"x": "one", "y": [{"z": "two"}], "w": "environment: env:A"}
    monkeypatch.delenv("B")
    with pytest.raises(ParameterError, match="export B="):
        params.secrets(told)


def test_set_words():
    assert params.parse_set(["train.max_iter=50", "train.x=1e-2", "prepare.windows={a: [1, 2]}"]) == {"train": {"max_iter": 50, "x": 0.01}, "prepare": {"windows": {"a": [1, 2]}}}
    for wrong in ["max_iter=50", "train.max_iter", "=", "train.=1"]:
        with pytest.raises(ParameterError):
            params.parse_set([wrong])
