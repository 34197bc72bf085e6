"""Does anything call in a year in which nothing happens? Worlds that are known, through reports, gauges and the real alert rules; printed as tables.

    python benchmarks/monitor_year.py                 # a year, a report each week on the four weeks before; then the incidents
    python benchmarks/monitor_year.py --seeds 1 2 3   # three years

The prediction log is that of tests/monitored_log.py: orders whose outcome is drawn from known odds, a model that has learned them, labels that come some days later. Every report is made as the
step `monitor` makes it; its gauges stay until the next one. Beside them stand the counters of two servers whose traffic follows the hour and the day of the week and is Poisson, none from 2 to 5 at night,
with half as many failures and slow answers as the service levels allow. `promtool test rules` evaluates the exported rules over all of it, and says which alerts fired, and how long.
"""
import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent/"tests"))
from model_ops.data.contract import Contract
from model_ops.drift.compare import compare
from model_ops.drift.meaning import judge
from model_ops.monitor import gauges, health, levels, logged, maturity
from model_ops.monitor.alerts import Words, block, job, rules, table_of
from model_ops.monitor.levels import Levels
from model_ops.monitor.maturity import Expected
from model_ops.monitor.window import Span
from model_ops.serve.exposition import BOUNDS, PREFIX
from monitored_log import make, moment

START, STEP = "2026-01-01", 300  # seconds between two samples


# Reports


def report(settings, until, days):
    "The health record of the window before a moment, by the labels that had come then."
    contract = Contract.load(settings.path("records/contract.json"))
    span = Span.of(days, until, "event", until, contract=contract)
    window = logged.read(settings, span, told=None)
    model = judge(window.validation, window.scores, window.labelled, importance=window.served.manifest.importance, package=window.served.digest)
    verdict = compare(window.reference, window.profile, contract=window.served.contract, model=model)
    return health.assess(window, verdict, maturity.mature(window, Expected()), levels.look(window, settings, Levels(), now=until.timestamp()), now=until, settings=settings)


def reports(settings, days, window, every, first):
    "(seconds since the start, health) of each report, from the first day on."
    return [(day*86_400, report(settings, moment(START, day), window)) for day in range(first, days, every)]


# Series


def stairs(made, length):
    "The monitor's gauges from the first report on: series → values in promtool's notation."
    begins, found = [s//STEP for s, _ in made], {}
    for k, (_, one) in enumerate(made):
        for name, labels, value in gauges.series(one):
            if name.endswith("_timestamp_seconds"): value -= moment(START).timestamp() + made[0][0]  # promtool's clock begins at 0
            inside = ",".join(f'{key}="{word}"' for key, word in labels.items())
            found.setdefault(f"{PREFIX}monitor_{name}{{{inside}}}", {})[k] = value
    lengths = [until - at for at, until in zip(begins, [*begins[1:], begins[0] + length], strict=True)]
    return {name: " ".join(f"{values[k]:.10g}x{n - 1}" if k in values else f"_x{n}" for k, n in enumerate(lengths)) for name, values in found.items()}


def traffic(rng, length, limits):
    "A year of one server: counters with their noise."
    at = np.arange(length)*STEP
    hour, weekday = at/3600 % 24, at//86_400 % 7
    rate = 300*(1 + 0.8*np.sin((hour - 9)/24*2*np.pi))*np.where(weekday < 5, 1.0, 0.3)*((hour < 2) | (hour >= 5))
    requests = rng.poisson(rate)
    failed, refused = rng.binomial(requests, limits.errors/2), rng.binomial(requests, 0.02)
    answered = requests - failed - np.minimum(refused, requests - failed)
    slow = rng.binomial(answered, 0.005)
    say = lambda counts: " ".join(map(str, counts.cumsum().tolist()))
    ask = lambda outcome: f'model_ops_requests_total{{protocol="invocations",outcome="{outcome}"}}'
    return {ask("answered"): say(answered), ask("503"): say(failed), ask("422"): say(refused), "model_ops_request_seconds_count": say(answered),
            **{f'model_ops_request_seconds_bucket{{le="{b!r}"}}': say(answered - slow) for b in {min(b for b in BOUNDS if b >= limits.p99_ms/1e3), max(b for b in BOUNDS if b <= limits.p99_ms/1e3)}},
            "model_ops_journal_lag_seconds": " ".join(map(str, (10 + rng.exponential(8, length)).round(1).tolist())),
            **{name: f"{value}x{length - 1}" for name, value in (("up", 1), ("model_ops_unlogged_total", 0), ("model_ops_log_writable", 1), ("model_ops_ledger_reachable", 1), ("model_ops_journal_bytes", 1e6), ("model_ops_settling", 1))}}


# Rules


def fired(settings, params, servers, length, every):
    "Which alerts the exported rules fired over the series of these servers: (alert, instance) → evaluations."
    import yaml
    words, folder = Words(job(settings)), Path(tempfile.mkdtemp())
    series = []
    for k, one in enumerate(servers, 1):
        for name, values in one.items():
            metric, _, labels = name.partition("{")
            series.append({"series": words.of(metric, f'instance="server-{k}"', *([labels[:-1]] if labels[:-1] else [])), "values": values})
    last = f"{(length - 1)*STEP}s"
    asked = [{"expr": f"sum by (alertname, instance) (count_over_time(ALERTS{{alertstate=\"firing\"}}[{last}]))", "eval_time": last, "exp_samples": [{"labels": "{}", "value": -1}]}]  # never so: promtool tells what it got
    (folder/"rules.yml").write_text(rules(settings, params))
    (folder/"year.yml").write_text(yaml.dump({"rule_files": ["rules.yml"], "evaluation_interval": every, "tests": [{"interval": f"{STEP}s", "input_series": series, "promql_expr_test": asked}]}, Dumper=yaml.CSafeDumper, width=10**9))
    said = subprocess.run(["promtool", "test", "rules", "year.yml"], cwd=folder, capture_output=True, text=True)
    text = (said.stdout + said.stderr).replace("\\", "")
    if "got:" not in text: raise SystemExit(text[:3000])
    got = text.rpartition("got:")[2]
    return {(alert, where): int(float(n)) for alert, where, n in re.findall(r'alertname="(\w+)"(?:, instance="([\w:-]+)")?\} ([\d.E+]+)', got)}


# Worlds

WORLDS = {  # what happens at day 60 of 92, as `monitored_log.make` takes it; which alerts must come
    "nothing": ({}, set()),
    "labels follow the scores no longer": ({"flip": 0.25}, {"ModelPerformanceRealized"}),
    "a source sends nulls": ({"nulls": 0.3}, {"ModelDataQuality"}),
    "an important column shifts, and the model copes": ({"shift": 3.0}, set()),
    "the same, and labels never come": ({"shift": 3.0, "label_share": 0.0}, {"ModelLabelsMissing"}),
}


def lived(settings, begins, days, window, every, step, seed):
    "So many days of reports and traffic: (the reports with their seconds, alert and instance → evaluations at which it fired)."
    made, length = reports(settings, begins + days, window, every, begins), days*86_400//STEP
    params = {"alerts": {"monitor_hours": every*24 + 2}}
    rng = np.random.default_rng([seed, 11])
    servers = [traffic(rng, length, block(Levels, params, "levels")) for _ in range(2)]
    servers[0] |= stairs(made, length)
    return made, fired(settings, params, servers, length, step)


def year(a, seed):
    "A stationary year: how the reports concluded, and what fired."
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        made, called = lived(make(Path(folder), days=a.days + a.window, rows=a.rows, start=START, seed=seed), a.window, a.days, a.window, a.every, a.step, seed)
    said = {c: sum(h.conclusion == c for _, h in made) for c in health.CONCLUSIONS}
    return [seed, len(made), ", ".join(f"{n} {c}" for c, n in said.items() if n), ", ".join(sorted({h.because for _, h in made})), ", ".join(f"{alert} ({n})" for (alert, _), n in called.items()) or "none", f"{time.perf_counter() - begun:.0f}"]


def world(a, name):
    "An incident in a known world: what is concluded and fired before and after day 60."
    told, must = WORLDS[name]
    with tempfile.TemporaryDirectory() as folder:
        made, called = lived(make(Path(folder), days=92, rows=a.rows, start=START, from_day=60, seed=5, **told), a.window, 92 - a.window, a.window, a.every, a.step, 5)
    halves = [[h for s, h in made if (s > 60*86_400) == after] for after in (False, True)]
    first = next((s//86_400 - 60 for s, h in made if h.conclusion != "fine" and s > 60*86_400), "")
    alerts = {alert for alert, _ in called}
    return [name, *(", ".join(dict.fromkeys(f"{h.conclusion} ({h.because})" for h in half)) for half in halves), first, ", ".join(sorted(alerts)) or "none", ", ".join(sorted(must - alerts)) or "none"]


def line(cells): print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def head(*names):
    line(names)
    line(["---"]*len(names))


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("--seeds", type=int, nargs="*", default=[1], help="of the stationary years; none: incidents only")
    told.add_argument("--rows", type=int, default=300, help="orders a day")
    told.add_argument("--days", type=int, default=365)
    told.add_argument("--window", type=int, default=28, help="days that a report looks at")
    told.add_argument("--every", type=int, default=7, help="days between two reports")
    told.add_argument("--step", default="30m", help="between two evaluations of the rules")
    a = told.parse_args()
    if a.seeds:
        print(f"A stationary year of {a.days} days, {a.rows} orders a day, {len(table_of('orders', {}))} alerts, evaluated each {a.step}\n")
        head("seed", "reports", "conclusions", "because", "alerts that fired (evaluations)", "seconds")
        for seed in a.seeds: line(year(a, seed))
    print("\nOn day 60 of 92 something happens\n")
    head("what", "concluded before", "and after", "first after days", "alerts that fired", "missed")
    for name in WORLDS: line(world(a, name))


if __name__ == "__main__": main()
