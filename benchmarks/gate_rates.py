"""How often does a gate let a challenger pass that it should keep out, and how often one that it should let in? Simulated, printed as Markdown.

    python benchmarks/gate_rates.py                          # 1,000 rounds of each window (some minutes)
    python benchmarks/gate_rates.py --rounds 200 --only days # windows whose name contains a word

In each round a window is drawn, both models are compared as evaluate does it, and gates judge what came out. The true difference T is known
from some million rows. A gate that asks for a gain of T (superior, by = T), or tolerates a loss of T (non_inferior, margin = T, the models swapped),
should let at most 2.5 % pass: the tail of a 95 % interval. One that asks for T/2 or T/5, or tolerates 2T or 5T, should let many pass.
The last columns are for a fifth challenger on the same window (tail 0.17 %), and for quantiles of the same draws in place of Student's t.
"""
import argparse
from dataclasses import dataclass

import numpy as np
from model_ops.evaluate.delong import delong
from model_ops.evaluate.intervals import bootstrap, draw, tails
from model_ops.evaluate.metrics import METRICS, measure
from model_ops.evaluate.paired import tests
from model_ops.evaluate.studentized import studentized
from model_ops.release.gates import Evidence, NonInferior, Superior
from scipy.special import expit

LEVEL, FIFTH = 0.95, 1 - 2*0.05/30  # of a first challenger, and of a fifth
NAMES = {"binary": ("roc_auc", "log_loss", "accuracy"), "regression": ("rmse",)}
NOBODY = {"challenger": {"digest": "c"*64}, "opponent": {"digest": "a"*64}}


@dataclass(frozen=True)
class World:
    "What a window is drawn from."
    days: int
    rows: int               # a day
    blocked: bool = True    # do rows of a day have something in common?
    memory: float = 0.0     # autocorrelation of the days
    base: float = -1.2      # log odds of a positive row
    heavy: bool = False     # errors of a regression with rare large ones

    def effect(self, rng, days: int, rows: int, size: float):
        "What the rows of a day have in common, [n]."
        if not self.blocked: return np.zeros(days*rows)
        found = rng.normal(size=days)
        for day in range(1, days) if self.memory else (): found[day] = self.memory*found[day - 1] + np.sqrt(1 - self.memory**2)*found[day]
        return size*np.repeat(found, rows)

    def draw(self, rng, task: str, days: int | None = None, rows: int | None = None):
        "Truth, the scores of the better and of the other model, and days."
        days, rows = days or self.days, rows or self.rows
        n, effect = days*rows, lambda size: self.effect(rng, days, rows, size)
        if task == "binary":
            signal = rng.normal(size=n)
            y = rng.random(n) < expit(self.base + 1.2*signal + effect(.5))
            scores = {model: expit(self.base + 1.2*(signal + noise*rng.normal(size=n) + effect(.25))) for model, noise in (("better", .4), ("other", .8))}
        else:
            y, error = 3*rng.normal(size=n), (lambda: rng.standard_t(5, n)) if self.heavy else (lambda: rng.normal(size=n))
            scores = {model: y + size*error() + effect(.3) for model, size in (("better", 1), ("other", 1.15))}
        return y, scores, np.repeat(np.arange(days), rows)


WORLDS = {
    "2,000 independent rows": World(2000, 1, blocked=False), "400 independent rows": World(400, 1, blocked=False),
    "31 days of 60 rows": World(31, 60), "10 days of 100 rows": World(10, 100), "15 days of 60 rows": World(15, 60), "60 days of 60 rows": World(60, 60),
    "31 days, autocorrelation 0.4": World(31, 60, memory=.4), "31 days, autocorrelation 0.7": World(31, 60, memory=.7),
    "31 days, 5 % positive, heavy errors": World(31, 60, base=-3.5, heavy=True), "400 independent rows, 7 % positive, heavy errors": World(400, 1, blocked=False, base=-3, heavy=True),
}


def truth(world: World, task: str, parts: int = 6) -> dict[str, float]:
    "By how much the better model is better in the long run."
    found = []
    for part in range(parts):
        y, scores, _ = world.draw(np.random.default_rng(10**6 + part), task, days=50_000 if world.blocked else 10**6, rows=20 if world.blocked else 1)
        a, b = (measure(y, score, metrics=[name for name in NAMES[task] if name != "roc_auc"], task=task) for score in scores.values())
        found.append({name: METRICS[name].sign*(a[name] - b[name]) for name in a} | ({"roc_auc": delong(y, *scores.values()).value} if task == "binary" else {}))
    return {name: float(np.mean([part[name] for part in found])) for name in NAMES[task]}


def swapped(told: dict) -> dict:
    "The same difference with the models swapped."
    turned = lambda value: None if value is None else -value
    return {"value": turned(told["value"]), "low": turned(told["high"]), "high": turned(told["low"])}


def compared(world: World, task: str, seed: int) -> dict[tuple[str, str, float], dict]:
    "One round: by how much the better model is better by each metric and method, at both levels, as evaluate's record has it."
    y, scores, day = world.draw(np.random.default_rng(seed), task)
    scores = dict(zip(("challenger", "opponent"), scores.values(), strict=True))
    thresholds, drawn = dict.fromkeys(scores, .5), draw(len(y), day if world.blocked else None, seed=seed)
    result, found = bootstrap(y, scores, thresholds, drawn, metrics=NAMES[task], task=task), {}
    for level in (LEVEL, FIFTH):
        exact = {test.metric: test.model_dump() for test in tests(y, scores, thresholds, drawn, task=task, level=level)["opponent"] if test.decides}
        for name in NAMES[task]:
            value, draws = (METRICS[name].sign*(of["challenger"][name] - of["opponent"][name]) for of in (result.values, result.draws))
            t, quantiles = studentized(value, draws, result.blocks, result.run, level=level).model_dump(), np.quantile(draws[np.isfinite(draws)], tails(result.blocks/result.run, level))
            found |= {(name, "gate", level): exact.get(name, t), (name, "quantiles", level): dict(zip(("value", "low", "high"), (value, *quantiles), strict=True))}
    return found


def passes(rule: str, name: str, told: dict, bound: float) -> bool:
    "Does the gate let it pass?"
    gate = Superior(rule="superior", metric=name, by=bound) if rule == "superior" else NonInferior(rule="non_inferior", metric=name, margin=bound)
    return gate.judge(Evidence({"models": NOBODY, "differences": {"opponent": {name: told}}})).outcome == "pass"


def main() -> None:
    "Run it."
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--rounds", type=int, default=1000)
    asked.add_argument("--only", default="", help="windows whose name contains this")
    told = asked.parse_args()
    print(f"Share of {told.rounds:,} rounds in which a gate lets the challenger pass, in %. At the bound (the true gain is the one asked; the true loss is the margin) it should be at most 2.5, which {told.rounds:,} rounds show to ± {200*np.sqrt(.025*.975/told.rounds):.1f}, "
          "and at most 0.17 for a fifth challenger. Twice, five times: the true gain is so many times the one asked; the margin is so many times the true loss.\n")
    print("| window | metric | rule | at the bound | twice | five times | at the bound, fifth challenger | at the bound, quantiles | fifth challenger, quantiles |\n" + "| --- "*9 + "|")
    for title, world in WORLDS.items():
        if told.only not in title: continue
        for task in NAMES:
            gap, rounds = truth(world, task), [compared(world, task, seed) for seed in range(told.rounds)]
            for rule, factors, side in (("superior", (1, 1/2, 1/5), dict), ("non_inferior", (1, 2, 5), swapped)):
                for name in NAMES[task]:
                    share = lambda method, level, factor: np.mean([passes(rule, name, side(found[name, method, level]), factor*gap[name]) for found in rounds])  # noqa: B023
                    cells = [*(share("gate", LEVEL, factor) for factor in factors), share("gate", FIFTH, 1), share("quantiles", LEVEL, 1), share("quantiles", FIFTH, 1)]
                    print(f"| {title} | {METRICS[name].title}, T = {gap[name]:.3g} | {rule} | " + " | ".join(f"{100*cell:.3g}" for cell in cells) + " |", flush=True)


if __name__ == "__main__": main()
