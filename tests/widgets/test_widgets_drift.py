"""DriftExplorer: ranks, filters, courses and looks, all as compare has them."""
import datetime
import numpy as np
import polars as pl
import pytest
import yaml
from model_ops.drift.compare import compare
from model_ops.drift.profile import Profile
from model_ops.drift.sections import of_column
from model_ops.errors import DataError
from model_ops.widgets.drift import RANKS, Compared, DriftExplorer, look, with_course

def table(first: int, shift: float, seed: int) -> pl.DataFrame:
    rng, n = np.random.default_rng(seed), 50*60
    return pl.DataFrame({"at": [datetime.datetime(2024, 1, 1) + datetime.timedelta(days=first + i//60) for i in range(n)], "moved": rng.normal(shift, 1, n), "still": rng.normal(0, 1, n),
                         "kind": rng.choice(["a", "b", "<b>c</b>"], n), "<script>": rng.choice([True, False], n), "gaps": [None if rng.random() < 0.1 + shift/10 else 1.0*(i % 7) for i in range(n)]})

@pytest.fixture(scope="module")
def two():
    reference = Profile.of(table(0, 0, 1), time="at")
    return reference, Profile.of(table(50, 0.8, 2), like=reference)

@pytest.fixture
def explorer(two): return DriftExplorer(reference=two[0], current=two[1])

def test_it_opens_on_the_weightiest_column(explorer):
    assert explorer.error is None and explorer.column == explorer.verdict.ranked[0] == "moved"
    assert explorer.verdict.summary in explorer.text() and "the pipeline" in explorer.text()

@pytest.mark.parametrize("rank", RANKS)
def test_ranks(explorer, rank):
    explorer.rank.value = rank
    names = [key for _, key in explorer.columns.options]
    assert sorted(names) == sorted(explorer.verdict.columns) and explorer.error is None
    if RANKS[rank]:
        keys = [RANKS[rank](n, explorer.verdict.columns[n]) for n in names]
        assert keys == sorted(keys)
    else: assert names == explorer.verdict.ranked

def test_filters_by_outcome_and_name(explorer):
    for outcome in ("drifted", "stable", "not enough data"):
        explorer.outcome.value = outcome
        assert {key for _, key in explorer.columns.options} == {n for n, c in explorer.verdict.columns.items() if c.outcome == outcome}
    explorer.outcome.value = "left its band"
    assert all(explorer.verdict.columns[key].over_time.outside for _, key in explorer.columns.options)
    explorer.outcome.value, explorer.find.value = "all", "  STI "
    assert explorer.column == "still"
    explorer.find.value = "no such thing"
    assert explorer.column is None and explorer.margins == {"columns": {}} and "No column is left" in explorer.text() and explorer.error is None
    explorer.find.value = ""
    assert explorer.column is not None and "No column is left" not in explorer.text()

def test_each_column_has_its_shape_course_and_words(explorer):
    for n, c in explorer.verdict.columns.items():
        explorer.columns.value = n
        assert explorer.error is None and c.reason.split(".")[0] in explorer.text() and "reference and current window" in explorer.text()
        assert "how far each chunk is from the reference" in explorer.text()
    assert "<script>" not in str(explorer.__html__()) and "<b>c</b>" not in str(explorer.__html__())

def test_the_course_that_is_counted_again_is_the_one_that_the_verdict_kept(two):
    compared = Compared(None, *two)
    kept = compared.verdict.columns["moved"].over_time
    assert kept.current and kept.reference
    bare = compared.verdict.columns["moved"].model_copy(update=dict(over_time=kept.model_copy(update=dict(reference=[], current=[], limit=[]))))
    compared.verdict = compared.verdict.model_copy(update=dict(columns={**compared.verdict.columns, "moved": bare}))
    again = with_course(compared, "moved").columns["moved"].over_time
    for side in ("reference", "current", "limit"): assert np.allclose(getattr(again, side), getattr(kept, side), atol=1e-4)
    assert "far each chunk" in of_column("moved", with_course(compared, "moved"))

@pytest.mark.parametrize("margin", [0.01, 0.05, 0.1, 0.25, 0.29])
def test_a_look_is_what_compare_would_say(two, margin):
    compared = Compared(None, *two)
    for n in compared.verdict.columns:
        said = compare(*two, margins={"columns": {n: margin}}).columns[n]
        found = look(compared, n, margin)
        assert found.column.questions["values"].effect == said.questions["values"].effect
        if found.outcome != said.outcome: assert (found.outcome, said.outcome) == ("not enough data", "drifted")  # Bonferroni beside Holm

def test_the_slider_looks_and_changes_nothing(explorer):
    before = explorer.verdict.to_json()
    explorer.slider.value = 0.3
    assert "A look, not the pipeline's verdict" in explorer.text() and explorer.verdict.to_json() == before
    assert explorer.margins == {"columns": {"moved": 0.3}} and yaml.safe_load(explorer.text().split("margins: ")[1].splitlines()[0]) == explorer.margins
    explorer.columns.value = "kind"
    assert explorer.margin == 0.03 and "A look" not in explorer.text()  # each column begins at its own margin

def test_told_margins_are_kept(two):
    told = {"number": 0.2, "columns": {"still": 0.4}}
    explorer = DriftExplorer(compare(*two, margins=told), *two)
    explorer.columns.value = "still"
    assert explorer.margin == 0.4 and explorer.slider.max >= 0.4
    explorer.columns.value = "moved"
    assert explorer.margin == 0.2
    explorer.slider.value = 0.1
    assert explorer.margins == {"number": 0.2, "columns": {"still": 0.4, "moved": 0.1}}

def test_a_verdict_without_profiles_can_be_looked_at(two, tmp_path):
    path = compare(*two).save(tmp_path/"verdict.json")
    explorer = DriftExplorer(path)
    assert explorer.error is None and explorer.column == "moved"
    explorer.slider.value = 0.2
    assert isinstance(explorer.error, DataError) and "without its profiles" in explorer.text()
    explorer.columns.value = "still"
    assert explorer.error is None and "not in the record" in explorer.text()

def test_profiles_of_another_run_are_refused(two):
    other = Profile.of(table(50, 0.8, 2).head(500), like=two[0])
    explorer = DriftExplorer(compare(*two), two[0], other)
    explorer.slider.value = 0.2
    assert "not those that the verdict compared" in explorer.text()

def test_without_time_there_is_no_course():
    frame = table(0, 0, 1).drop("at")
    reference = Profile.of(frame)
    explorer = DriftExplorer(reference=reference, current=Profile.of(table(0, 0.8, 3).drop("at"), like=reference))
    for n in explorer.verdict.columns:
        explorer.columns.value = n
        assert explorer.error is None and "far each chunk" not in explorer.text()
