"""What does a drift report say of each month of a real year? python benchmarks/flights_by_month.py [--pages FOLDER]

The reference is January to March, the model learned from it, and April is its validation window. Each later month is judged
twice: by its scores alone, and with its labels.
"""
import argparse
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from model_ops.data.contract import learn
from model_ops.data.encode import encode, target
from model_ops.data.flights import flights
from model_ops.drift.compare import compare
from model_ops.drift.files import page
from model_ops.drift.meaning import judge
from model_ops.drift.profile import Profile
from model_ops.drift.scores import Scores
from model_ops.evaluate.threshold import choose_threshold
from model_ops.train.recipe import importance

NAMES = "January February March April May June July August September October November December".split()


def main(pages: Path | None) -> None:
    frame = flights()
    month = frame["departure"].dt.month()
    parts = {m: frame.filter(month == m) for m in range(4, 13)}
    past = frame.filter(month <= 3)
    contract = learn(past, target="late", time="departure", roles={"flight_id": "id"})
    X = encode(contract, past)
    model = HistGradientBoostingClassifier(max_iter=200, early_stopping=False, random_state=0).fit(X.X, target(contract, past))
    score = {m: model.predict_proba(encode(contract, f).X)[:, 1] for m, f in parts.items()}
    truth = {m: target(contract, f) for m, f in parts.items()}
    day = {m: f["departure"].dt.date().to_numpy() for m, f in parts.items()}
    threshold = choose_threshold(truth[4], score[4]).value
    counted = lambda m, y=None, like=None: Scores.of(score[m], y, task="binary", classes=contract.outputs, threshold=threshold, chunk=day[m], like=like)
    april, reference = counted(4, truth[4]), Profile.of(past, contract=contract)
    looks = {one.name: one.value for one in importance(lambda rows: model.predict_proba(rows)[:, 1], encode(contract, parts[4]).X, truth[4], X.columns)}
    print(f"April, with labels: ROC AUC {judge(april, counted(4, like=april)).metrics['roc_auc'].reference:.3f}, {truth[4].mean():.1%} late; {past.height:,} flights of January to March\n")
    print("| month | late | the model, by its scores | the model, with labels | ROC AUC expected, and as it was | log loss expected, and as it was | columns that drifted |\n| --- | --- | --- | --- | --- | --- | --- |")
    for m in range(5, 13):
        scores, labelled = counted(m, like=april), counted(m, truth[m], april)
        blind, seen = judge(april, scores, importance=looks), judge(april, scores, labelled, importance=looks)
        verdict = compare(reference, Profile.of(parts[m], like=reference, contract=contract), model=seen)
        drifted = [n for n in verdict.ranked if verdict.columns[n].outcome == "drifted"]
        both = lambda name, seen=seen: ", ".join("–" if f is None else f"{f.value:.3f} ({f.low:.3f} to {f.high:.3f})" for f in (seen.metrics[name].estimated, seen.metrics[name].realized))
        print(f"| {NAMES[m - 1]} | {np.mean(truth[m]):.1%} | {blind.outcome} | {seen.outcome} | {both('roc_auc')} | {both('log_loss')} | {', '.join(drifted) or '–'} |", flush=True)
        if pages: (pages/f"{m:02}.html").write_text(page(verdict, f"{NAMES[m - 1]} against January to March"), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=Path, help="a folder for the HTML report of each month")
    told = parser.parse_args()
    if told.pages: told.pages.mkdir(parents=True, exist_ok=True)
    main(told.pages)
