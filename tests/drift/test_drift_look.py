"The display of a verdict: escaped, the same bytes each time, small, readable without colour and on a phone."
import re
from datetime import datetime, timedelta
from html.parser import HTMLParser

import numpy as np
import pytest
from model_ops.drift import words
from model_ops.drift.distance import DISTANCES
from model_ops.drift.look import FEWEST, LISTED, PICTURED, display
from model_ops.drift.meaning import Change, Meaning, Predictions
from model_ops.drift.multivariate import Joint
from model_ops.drift.parts import Figure, Shape
from model_ops.drift.sections import against, gains, of_joint, of_model
from model_ops.drift.verdict import ColumnVerdict, Finding, Margins, OverTime, Parameters, Question, Verdict, WindowFacts


def fig(value, low, high): return Figure(value=value, low=low, high=high)


def shape(kind, seed, cells=20):
    a, b = np.random.default_rng(seed).dirichlet(np.full(cells, 4.0), 2).round(5).tolist()
    return Shape(kind=kind, labels=np.round(np.arange(cells + 1.0) + 0.125*seed, 3).tolist() if kind == "numeric" else [f"category {i}" for i in range(cells)], reference=a, current=b, extra={"missing": (0.0, 0.04)})


def column(outcome="drifted", seed=0, kind="numeric", chunks=(0, 0), out=0, first=None, kept=True, importance=None, rows_needed=None):
    rng, margin, (was, now) = np.random.default_rng(seed), 0.05 if kind == "numeric" else 0.03, chunks
    effect = {"drifted": 3*margin, "stable": 0.2*margin, "not enough data": margin}[outcome]
    low, high = (effect*0.8, effect*1.3) if outcome == "drifted" else (0.0, 0.7*margin) if outcome == "stable" else (0.0, 3*margin)
    course = lambda n, level: np.round(abs(rng.normal(level, 0.03, n)), 4).tolist()
    over = OverTime(outside=out, first=first, reference=course(was, 0.08)*kept, current=course(now, 0.2)*kept, limit=course(now, 0.17)*kept) if was else None
    question = Question(outcome=outcome, effect=effect, low=low, high=high, margin=margin, p=0.001, p_adjusted=0.01, p_stable=0.9, rows_needed=rows_needed, effective_chunks=None)
    return ColumnVerdict(outcome=outcome, effect=effect, low=low, high=high, margin=margin, p_adjusted=0.01, rows_needed=rows_needed, about="values", type="number" if kind == "numeric" else "category", role="feature", moved="mean 10.2 → 12.4",
                         reason=words.reason(outcome, "values", effect, low, high, margin, rows_needed=rows_needed, moved="mean 10.2 → 12.4"), distances=dict.fromkeys(DISTANCES, 0.12345), mean=(10.2, 12.4), nulls=(0.0, 0.04), questions={"values": question},
                         shape=shape(kind, seed), trend=course(was + now, 0.5) if was and kept else None, over_time=over, importance=importance)


def starts(n, year, step=timedelta(days=1)): return [(datetime(year, 1, 1) + i*step).isoformat()[:10 if step >= timedelta(days=1) else 16] for i in range(n)]


def verdict(columns, model=None, chunks=((), ()), chunk="1d", findings=(), joint=None):
    outcomes = {c.outcome for c in columns.values()}
    windows = {side: WindowFacts(rows=20_000, starts=list(s)) for side, s in zip(("reference", "current"), chunks, strict=True)}
    found = Verdict(outcome=next((o for o in ("drifted", "not enough data") if o in outcomes), "stable"), todo="", columns=columns, findings=list(findings), windows=windows, family=2*len(columns), family_chunks=100 if chunks[0] else 0, method=[], model=model, joint=joint,
                    parameters=Parameters(alpha=0.05, margins=Margins(), time="day" if chunks[0] else None, chunk=chunk, least_chunks=5))
    top = set(found.top)  # as `compare` keeps it: courses and trends of the columns that have a section
    thin = {n: c if n in top else c.model_copy(update=dict(trend=None, over_time=c.over_time and OverTime(outside=c.over_time.outside, first=c.over_time.first))) for n, c in columns.items()}
    found = found.model_copy(update=dict(columns=thin))
    return found.model_copy(update=dict(summary=words.summary(found), todo=words.todo(found), method=words.method(found)))


def model(outcome="holds", by="estimate", task="binary", **more):
    judging = {"roc_auc": Change(better="higher", reference=0.712, estimated=fig(0.705, 0.69, 0.72), realized=fig(0.70, 0.68, 0.72) if by == "labels" else None, loss=fig(0.007, -0.01, 0.02), margin=0.03, outcome=outcome)} if task != "regression" else \
              {"mae": Change(better="lower", reference=11.83, estimated=fig(12.3, 11.9, 12.8), loss=fig(0.04, 0.01, 0.08), margin=0.1, outcome=outcome)}
    others = {n: Change(better="higher", reference=0.7, estimated=fig(0.69, 0.65, 0.73)) for n in ("accuracy", "precision", "recall", "f1", "brier")} if task != "regression" else {"rmse": Change(better="lower", reference=18.2)}
    said = Predictions(outcome="drifted", effect=0.09, low=0.07, high=0.12, margin=0.05, shape=shape("category" if task == "multiclass" else "numeric", 5, 4))
    return Meaning(**{**dict(outcome=outcome, judged_by=by, metrics=judging | others, predictions=said, importance={"c0": 1.0}, rows=20_000, labelled=15_000*(by == "labels"), package="8701fe6faab7", assumption="A score means today what it meant then."), **more})


class Balanced(HTMLParser):
    "Fails where elements do not close in order; notes tags and attributes."
    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes = [], set(), set()
    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {n for n, _ in attrs}
        if tag not in ("br", "meta"): self.open.append(tag)
    def handle_startendtag(self, tag, attrs): self.tags.add(tag)
    def handle_endtag(self, tag): assert self.open.pop() == tag


def read(markup):
    found = Balanced()
    found.feed(str(markup))
    found.close()
    assert not found.open and not found.tags & {"script", "img", "iframe", "link", "a", "form"} and not any(a.startswith("on") for a in found.attributes)
    assert "nan" not in re.sub(r"<[^>]*>", " ", str(markup)).lower().split()
    return found


def season(n=30, days=(181, 30)):
    "Seven of n columns drifted, some are open, two left their band for a while."
    chunks = starts(days[0], 2013), starts(days[1], 2014)
    outcome = lambda i: "drifted" if i < 7 else "not enough data" if i < 15 else "stable"
    columns = {f"c{i}": column(outcome(i), i, "numeric" if i % 3 else "category", days, *((2, chunks[1][8]) if i in (1, 20, 21) else (0, None)), importance=round(1/(i + 2), 4), rows_needed=24_000 if outcome(i) == "not enough data" else None) for i in range(n)}
    return columns, chunks


@pytest.mark.parametrize("health", [None, "holds", "worse", "not enough data"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("outcome", ["drifted", "stable", "not enough data"])
def test_every_outcome_is_shown_well_formed(health, task, outcome):
    chunks = starts(40, 2013), starts(12, 2014)
    found = verdict({"a": column(outcome, 1, "numeric", (40, 12), 1, chunks[1][3]), "b": column("stable", 2, "category", (40, 12))}, health and model(health, task=task), chunks)
    read(found.display())
    assert str(found.display()) == str(display(Verdict.from_json(found.to_json())))


def test_the_sentence_stands_first_and_the_model_before_the_columns():
    columns, chunks = season()
    html = str(verdict(columns, model(), chunks).display())
    order = [html.index(part) for part in ('<p class="lead">The model holds', "model holds</span>", "data: drifted</span>", "<h3>The model", "<h3>Columns</h3>", "c0: reference and current window", "The usual distances", "Method and parameters")]
    assert order == sorted(order) and "roc_auc" not in html


def test_drift_is_no_alarm_while_the_model_holds():
    columns, chunks = season()
    assert 'bad">drifted' not in verdict(columns, model("holds"), chunks).display() and 'bad">drifted' in verdict(columns, model("worse"), chunks).display() and 'bad">drifted' in verdict(columns, None, chunks).display()
    alarm = Finding(column="rain", rule="vanished column", severity="alarm", sentence="Column rain vanished.")
    assert 'bad">data: drifted' in verdict(columns, model("holds"), chunks, findings=[alarm]).display()


def test_thirty_columns_stay_under_150_kb():
    columns, chunks = season()
    for found in (verdict(columns, model("worse", "labels"), chunks), verdict({n: c.model_copy(update=dict(importance=None)) for n, c in columns.items()}, None, chunks)): assert len(found.__html__().encode()) < 150_000


def test_a_thousand_columns_stay_under_600_kb_and_each_is_named():
    chunks = starts(181, 2013), starts(30, 2014)
    columns = {f"a_column_with_a_long_name_{i}": column("drifted", i, "numeric" if i % 2 else "category", (181, 30), 20, chunks[1][1], importance=0.001) for i in range(1_000)}
    html = verdict(columns, model("worse"), chunks).__html__()
    assert len(html.encode()) < 400_000 and all(f"{n}<" in html for n in columns) and html.count('<div class="scroll stack">') >= 2
    more = {**columns, **{f"more_{i}": columns["a_column_with_a_long_name_1"] for i in range(1_000)}}
    html = verdict(more, None, chunks).__html__()
    assert len(html.encode()) < 600_000 and f"{2_000 - PICTURED - LISTED:,} more columns in the JSON" in html


def test_thousands_of_chunks_are_thinned():
    hour = timedelta(hours=1)
    chunks = starts(8_000, 2013, hour), starts(2_000, 2014, hour)
    found = verdict({f"c{i}": column("drifted", i, "numeric", (8_000, 2_000), 5, chunks[1][100]) for i in range(8)}, None, chunks, "1h")
    assert len(found.__html__().encode()) < 150_000
    read(found.display())


def test_stable_columns_fold_away_and_a_few_rows_always_have_pictures():
    html = str(verdict({f"c{i}": column("stable", i) for i in range(30)}).display())
    assert f"The other {30 - FEWEST} columns" in html and html.count("<svg") == 2*FEWEST
    assert "The other" not in verdict({f"c{i}": column("stable", i) for i in range(5)}).display()


def test_chunks_of_rows_have_numbers_on_their_axis():
    chunks = [str(1_000*i) for i in range(30)], [str(1_000*i) for i in range(12)]
    html = str(verdict({"a": column("drifted", 1, "numeric", (30, 12), 3, "5000")}, None, chunks, "1000 rows").display())
    assert "number of the chunk (1,000 rows each), reference first" in html and "at row 5,000" in html


def test_a_column_that_only_left_its_band_shows_its_course():
    chunks = starts(40, 2013), starts(12, 2014)
    html = str(verdict({"a": column("stable", 1, "numeric", (40, 12), 2, chunks[1][8])}, None, chunks).display())
    assert "Out of its band in 2 of 12 days, first on 2014-01-09." in html and "left its band, on 2014-01-09" in html and "a: reference and current window" not in html


BAD = ["<script>alert(1)</script>", "a\"b'c", "x"*10_000, "\u202eright to left", "</style>", "a\nb  c", "", "]]>"]


def test_hostile_names_and_sentences_stay_text():
    columns = {n: column("drifted", i, "category" if i % 2 else "numeric", importance=0.1).model_copy(update=dict(moved=f"{words.listed([n])}: 3 % → 4 %", shape=Shape(kind="category", labels=[n, "b"], reference=[0.4, 0.6], current=[0.6, 0.4], extra={}))) for i, n in enumerate(BAD)}
    findings = [Finding(column=n, rule="new column", severity="alarm", sentence=f"Column {words.listed([n])} is new.") for n in BAD]
    joint = Joint(outcome="drifted", auc=0.7, low=0.65, high=0.75, margin=0.55, p_drifted=0.001, p_stable=1.0, rows={"reference": 100, "current": 100}, chunks={"reference": 0, "current": 0}, columns={n: 0.1 for n in BAD}, sentence=BAD[0], method=BAD[4])
    found = verdict(columns, model(package=BAD[0], assumption=BAD[0], obstacle=BAD[4], window=BAD[0]), findings=findings, joint=joint)
    html = read(found.display())
    assert html.tags <= {"div", "p", "span", "section", "h3", "table", "thead", "tbody", "tr", "th", "td", "svg", "rect", "line", "circle", "path", "text", "title", "desc", "g", "code", "bdi", "small", "br", "details", "summary", "ul", "li", "b"}
    assert "\u202e" not in str(found.display()) and len(str(found.display())) < 200_000 and found.__html__().count("</style>") == 1


def test_the_joint_drift_names_its_columns():
    joint = Joint(outcome="drifted", auc=0.7, low=0.65, high=0.75, margin=0.55, p_drifted=0.001, p_stable=1.0, rows={"reference": 100, "current": 100}, chunks={"reference": 0, "current": 0}, columns={"temp": 0.6, "dest": 0.4}, sentence="It tells them apart.", method="")
    assert "temp" in of_joint(joint) and "It tells them apart." in of_joint(joint) and of_joint(None) is None


def test_a_model_without_figures_says_why():
    html = of_model(model("not enough data", metrics={}, predictions=None, obstacle="The window is too short."))
    assert "The window is too short." in html and "<table" not in html


def test_the_small_marks_speak_to_those_who_do_not_see_them():
    assert 'aria-label="0.120, between 0.090 and 0.160; the margin is 0.050"' in against(0.12, 0.09, 0.16, 0.05) and 'aria-label="from -10.0% to +8.0% of the rows"' in gains(Shape(kind="numeric", labels=[0, 1, 2, 3], reference=[0.3, 0.4, 0.3], current=[0.2, 0.42, 0.3], extra={"missing": (0.0, 0.08)}))


def test_a_verdict_without_columns_is_shown():
    read(verdict({}).display())
