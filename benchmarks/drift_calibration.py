"""How often is a drift verdict wrong, and what does it take to be right? Simulated, and printed as tables.

python benchmarks/drift_calibration.py [--seed 1 2] [--repetitions 500] [--quick] [--write]

With several seeds, each cell of a table shows the result of each. --write puts the tables into docs/drift-calibration.md.
Counts are drawn by cell, by the law that counting rows has (`numbers` and `names` say why that is the same); sections 1 and 6 go through frames as well.
"""
import argparse
import time
from pathlib import Path

import numpy as np
import polars as pl
from model_ops.drift.compare import CHUNKS_WEIGH, RARE, compare
from model_ops.drift.course import course
from model_ops.drift.effect import Window, assess, growth, holm, slip
from model_ops.drift.profile import LEVELS, MOST
from model_ops.drift.verdict import Margins
from scipy import stats
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

MARGINS, ALPHA, DOC = Margins(), 0.05, Path(__file__).resolve().parent.parent/"docs"/"drift-calibration.md"
SIZES = (200, 2_000, 20_000, 200_000)
AUTOCORRELATION = (0.0, 0.3, 0.6, 0.8)
still = lambda u: u


# What is drawn


def numbers(rng, rows, now_rows, move=still):
    """Counts of a continuous column in both windows. Only ranks matter, so one law serves normal, lognormal and heavy-tailed values alike: cells end at fixed order statistics
    of the reference, and the shares between order statistics are Dirichlet. `move` turns the reference's distribution function at an edge into the current one's."""
    places = np.unique((LEVELS*(rows - 1)).astype(int))
    gaps = np.diff(places)
    at = np.cumsum(rng.dirichlet(np.r_[1, gaps, 1]))[:-1]  # the reference's distribution function at the edges; the last edge ends just above the largest value
    shares = np.diff(np.r_[0, move(np.clip(at, 0, 1)), 1])
    return Window(np.r_[0, gaps, 1, 0][None]), Window(np.r_[(c := rng.multinomial(now_rows, np.clip(shares, 0, None)/shares.sum()))[:-1], 0, c[-1]][None])


def names(rng, rows, now_rows, shares, now_shares=None):
    "Counts of a category as a verdict compares them: those that the reference has often, the rarer ones together, the unseen ones beside those seen once."
    was, now = rng.multinomial(rows, shares), rng.multinomial(now_rows, shares if now_shares is None else now_shares)
    often = np.zeros(len(was), dtype=bool)
    often[np.argsort(-was, kind="stable")[:MOST]] = True
    often &= was >= RARE
    rare, once = ~often & (was > 1), was == 1
    return tuple(Window(np.r_[a, b, c[often]][None]) for a, b, c in ((was[once].sum(), was[rare].sum(), was), (now[was == 0].sum(), now[(rare | once)].sum(), now)))


def whole(rng, rows, now_rows):
    "Counts of a column of whole numbers: a cell for each value that the reference has; others fall into the cell below them."
    law = stats.poisson(3).pmf(np.arange(40))
    was, now = rng.multinomial(rows, law/law.sum()), rng.multinomial(now_rows, law/law.sum())
    has = np.flatnonzero(was)
    cell = np.where(np.arange(40) > has[-1], len(has) + 1, np.searchsorted(has, np.arange(40), side="right"))
    return tuple(Window(np.bincount(cell, c, minlength=len(has) + 2).astype(int)[None]) for c in (was, now))


zipf = {k: (lambda w: w/w.sum())(1/np.arange(1, k + 1)) for k in (10, 100, 1_000)}
pair = lambda rng, rows, now_rows, was, now: (Window(rng.multinomial(rows, was)[None]), Window(rng.multinomial(now_rows, now)[None]))
two = lambda share: np.array([1 - share, share])
KINDS = [(lambda r, n, m: numbers(r, n, m), "number")]*3 + [(whole, "number"), (lambda r, n, m: pair(r, n, m, two(0.1), two(0.1)), "boolean"),
         *((lambda r, n, m, k=k: names(r, n, m, zipf[k]), "category") for k in zipf)]
margin_of = lambda kind: getattr(MARGINS, kind)


def judge(windows, kind):
    "One question, asked as a verdict asks it."
    slipped = slip(windows[0].counts[0, 2:], windows[0].rows) if kind == "category" else 0.0
    return assess(*windows, margin_of(kind), kind == "number", slipped=slipped)


def frame(rng, rows, columns):
    "The same columns as rows."
    kinds = [lambda: rng.normal(size=rows), lambda: rng.lognormal(size=rows), lambda: rng.standard_t(2, size=rows), lambda: rng.poisson(3, size=rows), lambda: rng.random(rows) < 0.1,
             *(lambda k=k: pl.Series(rng.choice(k, rows, p=zipf[k])).cast(pl.String) for k in zipf)]
    return pl.DataFrame({f"c{i}": kinds[i % len(kinds)]() for i in range(columns)})


def days(rng, n, like_before, law="normal"):
    "Day effects of variance 1, each like the one before."
    draw = {"normal": lambda k: rng.normal(size=k), "heavy": lambda k: rng.standard_t(3, k)/np.sqrt(3), "skewed": lambda k: rng.exponential(size=k) - 1}[law]
    x = draw(n + 60)
    for t in range(1, n + 60): x[t] = like_before*x[t - 1] + np.sqrt(1 - like_before**2)*x[t]
    return x[60:]


def by_day(rng, effects, rows, spread=1.0):
    "Counts by day of a bell curve that each day moves; cells are quantiles of all days together."
    shares = np.diff(ndtr(ndtri(LEVELS)*spread - np.asarray(effects)[:, None]), axis=1)
    return Window(np.array([rng.multinomial(n, p/p.sum()) for n, p in zip(np.broadcast_to(rows, len(shares)), shares, strict=True)]), True)


def step(effect, spread=1.0):
    "By how much a bell curve must move for this total variation."
    return 2*spread*ndtri((1 + effect)/2)


# How it is said


percent = lambda hits, n: f"{hits/n:.1%}"
times = lambda values: f"{np.mean(values):.1%}"


def table(columns, rows): return "\n".join(["| " + " | ".join(map(str, r)) + " |" for r in [columns, ["---"]*len(columns), *rows]])


def beside(tables):
    "One table out of those of several seeds."
    return [[" / ".join(dict.fromkeys(cells)) if i == 0 else cells[0] if len(set(cells)) == 1 else " / ".join(cells) for i, cells in enumerate(zip(*(map(str, r) for r in rows), strict=True))] for rows in zip(*tables, strict=True)]


# What is measured


def no_drift(rng, n):
    rows = []
    for size in SIZES:
        p = np.array([[judge(KINDS[i % 8][0](rng, size, size), KINDS[i % 8][1]).p_drifted for i in range(140)] for _ in range(n)])
        alarm = lambda k, p=p: [min(holm(part)) <= ALPHA for r in p for part in r[:140//k*k].reshape(-1, k)]
        rows.append([f"{size:,}", *(f"{times(a)} of {len(a):,}" for a in map(alarm, (10, 30, 140)))])
    return ["rows in each window", "10 columns", "30 columns", "140 columns"], rows


def no_drift_frames(rng, n):
    rows = []
    for size, columns, repeats in ((200, 30, n//2), (2_000, 30, n//2), (20_000, 30, max(10, n//20)), (2_000, 140, max(10, n//10))):
        found = [compare(frame(rng, size, columns), frame(rng, size, columns)) for _ in range(repeats)]
        rows.append([f"{size:,}", columns, f"{times([v.outcome == 'drifted' for v in found])} of {repeats}"])
    return ["rows in each window", "columns", "reports with any alarm"], rows


def windows_by_day(rng, size, like_before=0.0, law="normal", unlike=1.0, unequal=False, by=0.0, chunks=(60, 30), rows=500):
    "Both windows of a column; in the current one the day effects are `unlike` times as large, and the column moves by `by`."
    spread, found = np.sqrt(1 + size**2), []
    for n, k, move in ((chunks[0], 1.0, 0.0), (chunks[1], unlike, by)):
        many = np.maximum(30, rng.lognormal(np.log(rows), 0.8, n)).astype(int) if unequal else rows
        found.append(by_day(rng, size*k*days(rng, n, like_before, law) + move, many, spread))
    return found


def report_by_day(pairs, margin):
    "One report: any alarm by a window, any by a course, and the share of columns that were tested."
    asked = [assess(*w, margin).p_drifted for w in pairs]
    courses = [c.p[~np.isnan(c.p)] for w in pairs if (c := course(*w, margin)) is not None]
    weights = [1.0]*len(asked) + [CHUNKS_WEIGH/len(p) for p in courses for _ in p]
    adjusted = np.array(holm([1.0 if p is None else p for p in asked] + [x for p in courses for x in p], weights))
    return adjusted[:len(asked)].min() <= ALPHA, adjusted[len(asked):].min(initial=1) <= ALPHA, np.mean([p is not None for p in asked])


def chunks_no_drift(rng, n):
    settings = {"none": dict(size=0.0), **{f"{size} sd, autocorrelation {r}": dict(size=size, like_before=r) for size in (0.1, 0.3) for r in AUTOCORRELATION}}
    settings |= {f"heavy-tailed (t, 3 degrees), 0.1 sd, autocorrelation {r}": dict(size=0.1, like_before=r, law="heavy") for r in (0.0, 0.6)}
    settings |= {f"skewed (exponential), 0.2 sd, autocorrelation {r}": dict(size=0.2, like_before=r, law="skewed") for r in (0.0, 0.6)}
    settings |= {"0.2 sd, autocorrelation 0.3, 30 to some 3,000 rows a day": dict(size=0.2, like_before=0.3, unequal=True)}
    settings |= {f"0.1 sd, autocorrelation {r}, in the current window {k} times as large": dict(size=0.1, like_before=r, unlike=k) for r in (0.0, 0.6) for k in (0.5, 2, 3)}
    rows = []
    for label, told in settings.items():
        reports = np.array([report_by_day([windows_by_day(rng, **told) for _ in range(30)], MARGINS.number) for _ in range(n)])
        rows.append([label, percent((reports[:, :2].sum(axis=1) > 0).sum(), n), percent(reports[:, 0].sum(), n), percent(reports[:, 1].sum(), n), times(reports[:, 2])])
    return ["day effects", "any alarm", "by a window", "by a course", "columns tested"], rows


def law(kind, effect):
    "Shares by cell in both windows, with this true effect."
    if kind == "number": return np.diff(LEVELS), np.diff(ndtr(ndtri(LEVELS) - step(effect)))
    if kind == "category": return zipf[100], zipf[100] + effect*np.r_[-1, np.full(10, 0.1), np.zeros(89)]
    was = {"boolean": 0.3, "nulls": 0.05}[kind]
    return two(was), two(was + effect)


def moved(kind, effect):
    "A draw of both windows of one column, with this true effect."
    if kind == "number": return lambda rng, n: numbers(rng, n, n, lambda u: ndtr(ndtri(u) - step(effect)))
    return lambda rng, n: (names if kind == "category" else pair)(rng, n, n, *law(kind, effect))


def at_margin(rng, n):
    rows = []
    for kind in ASKED:
        draw, margin = moved(kind, margin_of(kind)), margin_of(kind)
        for size in SIZES:
            found = [judge(draw(rng, size), kind) for _ in range(2*n)]
            rows.append([kind, margin, f"{size:,}", times([e.p_drifted <= ALPHA for e in found]), times([e.p_stable <= ALPHA for e in found])])
    return ["column", "margin", "rows in each window", "drifted", "stable"], rows


def at_margin_by_day(rng, n):
    rows = []
    for size, per_day, chunks in ((0.1, 1_000, (90, 30)), (0.3, 200, (60, 60))):
        by = step(MARGINS.number, np.sqrt(1 + size**2))
        for r in AUTOCORRELATION:
            for k in (1, 3):
                found = [assess(*windows_by_day(rng, size, r, by=by*k, chunks=chunks, rows=per_day), MARGINS.number) for _ in range(n)]
                able = [e for e in found if e.p_drifted is not None]
                rows.append([f"{size} sd", f"{chunks[0]} and {chunks[1]}", r, f"{k} × margin", percent(len(able), n), percent(sum(e.p_drifted <= ALPHA for e in able), n), percent(sum(e.p_stable <= ALPHA for e in able), n)])
    return ["day effects", "days", "autocorrelation", "effect", "tested", "drifted", "stable"], rows


def chi_square_rows(kind, effect, level):
    "Rows in each window with which a two-sample chi-square test on the cells finds it in 80 % of cases."
    p, q = law(kind, effect)
    freedom, apart = len(p) - 1, (np.square(p - q)/(p + q)).sum()
    return round(brentq(lambda n: stats.ncx2.sf(stats.chi2.isf(level, freedom), freedom, n*apart) - 0.8, 10, 1e7))


def ks_rows(rng, effect, level):
    "The same for the KS test, by simulation."
    by, n = step(effect), 50
    while np.mean([stats.ks_2samp(rng.normal(size=n), rng.normal(by, size=n), method="asymp").pvalue <= level for _ in range(200)]) < 0.8: n = int(n*1.1)
    return n


def power(rng, n):
    rows = []
    for kind in ASKED:
        margin, draw, calm = margin_of(kind), moved(kind, 2*margin_of(kind)), moved(kind, 0.0)
        for family in (1, 30):
            few = [judge(draw(rng, 200), kind) for _ in range(40)]
            asked = [200*g for e in few if e.p_drifted > ALPHA/family and e.p_stable > ALPHA and (g := growth(e, ALPHA/family)) is not None]
            size = int(np.median(asked))
            found, none = ([judge(how(rng, size), kind) for _ in range(n)] for how in (draw, calm))
            drifted, settled = np.array([e.p_drifted <= ALPHA/family for e in found]), np.array([e.p_stable <= ALPHA for e in found])
            rows.append([kind, family, f"{size:,}", times(drifted), times(~drifted & ~settled), times([e.p_stable <= ALPHA for e in none]),
                         f"{chi_square_rows(kind, 2*margin, ALPHA/family):,}", f"{ks_rows(rng, 2*margin, ALPHA/family):,}" if kind == "number" else "–"])
    return ["column", "columns in the report", "rows asked for", "drifted at twice the margin", "not enough data at twice the margin", "stable without drift", "rows for a chi-square test", "rows for a KS test"], rows


def tiny(rng, n, size=1_000_000):
    rows = []
    for kind in ASKED:
        margin, (p, q) = margin_of(kind), law(kind, margin_of(kind)/10)
        draw, normal = moved(kind, margin/10), lambda by=0.0: rng.normal(by, size=size)
        found = [judge(draw(rng, size), kind) for _ in range(n)]
        squared = [stats.chi2_contingency(np.array([rng.multinomial(size, p), rng.multinomial(size, q)]) + 0.5).pvalue <= ALPHA for _ in range(n)]
        ks = times([stats.ks_2samp(normal(), normal(step(margin/10)), method="asymp").pvalue <= ALPHA for _ in range(10)]) if kind == "number" else "–"
        rows.append([kind, f"{margin/10:.3f}", times([e.p_drifted <= ALPHA for e in found]), times([e.p_stable <= ALPHA for e in found]), times(squared), ks])
    return ["column", "true effect", "drifted", "stable", "chi-square test rejects", "KS test rejects"], rows


MASS = (zipf[100], zipf[100] + 0.05*np.r_[-1, np.full(10, 0.1), np.zeros(89)])
MILD = {"mean by 0.15 sd (normal)": ("number", lambda u: ndtr(ndtri(u) - 0.15)), "scale by 1.15 (lognormal, 0.5)": ("number", lambda u: ndtr(ndtri(u) - np.log(1.15)/0.5)),
        "scale by 1.15 (lognormal, 1)": ("number", lambda u: ndtr(ndtri(u) - np.log(1.15))), "spread by 1.2 (normal)": ("number", lambda u: ndtr(ndtri(u)/1.2)),
        "rate by 10 %, 0.2 to 0.22": ("boolean", (two(0.2), two(0.22))), "rate by 10 %, 0.4 to 0.44": ("boolean", (two(0.4), two(0.44))), "5 points of category mass": ("category", MASS)}


def true_effect(kind, how):
    if kind != "number": return abs(how[0] - how[1]).sum()/2
    u = np.linspace(0, 1, 1_000_001)
    return abs(np.diff(how(u)) - np.diff(u)).sum()/2


def mild(rng, n):
    sizes, outcomes = (10_000, 100_000, 1_000_000), {name: [] for name in (*MILD, OTHERS)}
    for size in sizes:
        found = {name: dict.fromkeys(("drifted", "stable", "not enough data"), 0) for name in outcomes}
        for _ in range(n):
            drawn = [(name, kind, numbers(rng, size, size, how) if kind == "number" else (names if kind == "category" else pair)(rng, size, size, *how)) for name, (kind, how) in MILD.items()]
            drawn += [(OTHERS, KINDS[i % 8][1], KINDS[i % 8][0](rng, size, size)) for i in range(23)]
            effects = [judge(w, kind) for _, kind, w in drawn]
            for (name, *_), e, p in zip(drawn, effects, holm([e.p_drifted for e in effects]), strict=True):
                found[name]["drifted" if p <= ALPHA else "stable" if e.p_stable <= ALPHA else "not enough data"] += 1
        for name, counts in found.items(): outcomes[name].append(", ".join(f"{k} {percent(v, sum(counts.values()))}" for k, v in counts.items() if v))
    facts = {name: (f"{true_effect(*MILD[name]):.4f}", margin_of(MILD[name][0])) if name in MILD else ("0", "") for name in outcomes}
    return ["shift", "true effect", "margin", *(f"{s:,} rows" for s in sizes)], [[name, *facts[name], *cells] for name, cells in outcomes.items()]


def mild_frames(rng, n):
    rows = []
    for size in (10_000, 100_000, 1_000_000)[:2 if n < 100 else 3]:
        x = lambda size=size: rng.normal(size=size)
        def made(now, size=size, x=x):
            values = [x() + 0.15*now, np.exp(0.5*x() + np.log(1.15)*now), np.exp(x() + np.log(1.15)*now), x()*(1 + 0.2*now), rng.random(size) < 0.2*(1 + 0.1*now), rng.random(size) < 0.4*(1 + 0.1*now),
                      pl.Series(rng.choice(100, size, p=MASS[now])).cast(pl.String)]
            return frame(rng, size, 23).with_columns(**{name: pl.Series(v) for name, v in zip(MILD, values, strict=True)})
        v = compare(made(0), made(1))
        others = [c.outcome for name, c in v.columns.items() if name not in MILD]
        rows.append([f"{size:,}", *(v.columns[name].outcome for name in MILD), ", ".join(f"{others.count(o)} {o}" for o in dict.fromkeys(others))])
    return ["rows", *MILD, OTHERS], rows


def courses(rng, n):
    rows, level = [], ALPHA*CHUNKS_WEIGH/30/(30*(1 + CHUNKS_WEIGH))
    after, alone = np.arange(30) >= 15, np.arange(30) == 15
    for size, r in ((0.0, 0.0), (0.1, 0.0), (0.1, 0.6), (0.2, 0.0)):
        for label, by in (("0.3 sd from day 15 on", 0.3*after), ("0.5 sd from day 15 on", 0.5*after), ("1 sd from day 15 on", 1.0*after), ("1 sd on day 15 alone", 1.0*alone)):
            pairs = [windows_by_day(rng, size, r, by=by, rows=1_000) for _ in range(n)]
            found = [course(*w, MARGINS.number) for w in pairs]
            first = [f - 15 for c in found if (f := c.first(level)) is not None]
            asked = [e.p_drifted is not None and e.p_drifted <= ALPHA/30/(1 + CHUNKS_WEIGH) for e in (assess(*w, MARGINS.number) for w in pairs)]
            near = [abs(c.since - 15) <= 1 for c in found]
            rows.append([f"{size} sd, autocorrelation {r}" if size else "none", label, percent(len(first), n), f"{np.median(first):+.0f} ({np.quantile(first, 0.1):+.0f} to {np.quantile(first, 0.9):+.0f})" if first else "–",
                         times(asked), "–" if by.sum() == 1 else times(near), times([c.current[15] > c.limit[15] for c in found])])
    return ["day effects", "change", "found by the course", "days late (8 of 10 within)", "found by the window", "`since` within a day", "day 15 beyond the band"], rows


ASKED, OTHERS = ("number", "category", "boolean", "nulls"), "23 others"
SECTIONS = [
    ("No drift, independent rows", "Reports with any alarm; at most 5 % is the aim. A report holds continuous columns (normal, lognormal, heavy-tailed: one law, for only ranks matter), whole numbers, truth values, and categories by Zipf's law with 10, 100 and 1,000 levels.", no_drift, 1.0),
    ("The same, counted from frames", "Through the whole of `compare`, to see that counts drawn by cell tell the same.", no_drift_frames, 0.4),
    ("No drift, rows by day", "60 days against 30, 500 rows a day, 30 columns; each column has day effects of its own, in standard deviations of the column (sd). Where the current window's are “times as large”, its days stray more or less, about the same middle. “By a course” is what the chunks add.", chunks_no_drift, 0.2),
    ("Effect = margin, independent rows", "One question, tested at 5 %: each share should be at most 5 %.", at_margin, 1.0),
    ("Effect = margin, rows by day", "Shares of all repetitions, tested or not. At the margin each should be at most 5 %; at three times the margin, drifted is right.", at_margin_by_day, 0.6),
    ("The rows that a verdict asks for", "A verdict on 200 rows at twice the margin is not enough data, and asks for rows (the median of 40). With these, at twice the margin: drifted in at least 80 %, not enough data in under 20 %. The chi-square and KS tests find *any* difference; that takes fewer rows, and the next table shows its price.", power, 0.6),
    ("A tenth of the margin, a million rows", "A difference that does not matter.", tiny, 0.2),
    ("Mild shifts among 30 columns", "Right is drifted where the true effect exceeds the margin and stable where it does not; not enough data is never wrong.", mild, 0.4),
    ("The same, counted from frames", "Once for each size.", mild_frames, 1.0),
    ("When a column left its band", "60 days, then 30, 1,000 rows a day. The level is that of one chunk among 30 columns of 30 chunks. A single bad day is no run: it is seen beyond the band, and raises no alarm.", courses, 0.4),
]


def page(seeds, repetitions, only=()):
    "The sections, each printed as soon as it is known."
    parts, start = [], time.perf_counter()
    for number, (title, text, measure, share) in enumerate(SECTIONS, 1):
        if only and number not in only: continue
        found = [measure(np.random.default_rng([seed, number]), max(10, round(repetitions*share))) for seed in seeds]
        parts.append(f"## {number}. {title}\n\n{text}\n\n{table(found[0][0], beside([rows for _, rows in found]))}\n")
        print(parts[-1], f"({time.perf_counter() - start:.0f} s)\n", sep="\n", flush=True)
    return parts


HEAD = """# How often a drift verdict is wrong

Written by `{command}`. {repetitions} repetitions for each seed, twice as many in section 4, {fifth} in sections 3 and 7, {part} in 8 and 10. A share of 5 % among 500 has a standard error of one point, among 100 one of two.{several}

"""

FOOT = """
## What falls short

- Close to the margin it takes many rows: with 100,000 in each window, a mean that moved by 0.15 sd (true effect 0.0598, margin 0.05) and a lognormal column scaled by 1.15 (0.0557) are often not enough data. Section 8 shows how often; with a million rows both are found.
- A category with many levels is seldom called stable with the rows that a verdict asks for: as rows come in, more levels get a cell of their own, and each brings noise that few rows do not show. Drift at twice the margin is found with them.
- Days that resemble the day before are worth few independent ones. With an autocorrelation of 0.8 most columns abstain, and a change in the middle of a window is found by the course only where it is large.
- A change in the middle of the current window makes the window as a whole look restless, so its own test says nothing; the course finds such a change, and only it.
- Where the current window's days stray two or three times as far as the reference's, about the same middle, a course may raise an alarm. The windows do differ then, though their middles do not.
- A single bad day raises no alarm, however bad: no reference of some weeks can tell it from a day that comes once a year. Where it lies twice as far out as the band and as any chunk of the reference, the report names it as a finding.
"""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--seed", type=int, nargs="+", default=[1])
    parser.add_argument("--quick", action="store_true", help="50 repetitions")
    parser.add_argument("--only", type=int, nargs="+", default=[], help="numbers of sections; nothing is written then")
    parser.add_argument("--write", action="store_true", help="write docs/drift-calibration.md")
    told = parser.parse_args()
    repetitions = 50 if told.quick else told.repetitions
    parts = page(told.seed, repetitions, told.only)
    command = f"python benchmarks/drift_calibration.py --seed {' '.join(map(str, told.seed))}" + (f" --repetitions {repetitions}" if repetitions != 500 else "") + " --write"
    several = " Each cell shows the results of the seeds " + ", ".join(map(str, told.seed)) + ", in this order; one where they agree." if len(told.seed) > 1 else ""
    if told.write and not told.only: DOC.write_text(HEAD.format(command=command, repetitions=repetitions, fifth=round(repetitions*0.2), part=round(repetitions*0.4), several=several) + "\n".join(parts) + FOOT, encoding="utf-8")
