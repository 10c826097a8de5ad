"""Compares exported models with simple baselines on held-out days.

Prints a table of pinball loss (mean over quantiles, in points of CPU percent;
lower is better) and of how often the truth lies between outer quantiles.
"""

import argparse
import json
import pathlib

import numpy as np

from export import session
from features import ENCODER, HORIZON, QUANTILES, TARGET, encode, read_fleet, split, stack

EVERY = 24  # steps from one forecast to the next: two hours


def pinball(forecast: np.ndarray, actual: np.ndarray) -> float:
    """Mean quantile loss of forecast [row, step, quantile] against actual [row, step]."""
    q = np.array(QUANTILES)
    d = actual[..., None] - forecast
    return float(np.maximum(q * d, (q - 1) * d).mean())


def inside(forecast: np.ndarray, actual: np.ndarray, low: int, high: int) -> float:
    """The share of actual values between two quantiles."""
    return float(((actual >= forecast[..., low]) & (actual <= forecast[..., high])).mean())


def last_value(last: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """The last reading and how far readings moved away from it in training, by step."""
    return np.clip(last + changes, 0, 100)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("bundles", nargs="+", type=pathlib.Path)
    p.add_argument("--data", type=pathlib.Path, default=pathlib.Path("build/fleet.csv"))
    a = p.parse_args()

    train, _, held = split(read_fleet(a.data))
    features = {b: json.loads((b / "features.json").read_bytes()) for b in a.bundles}
    actual, batches = [], {b: [] for b in a.bundles}
    baselines = {"last reading and its usual changes": [], "quantiles of the same hour": []}
    for name, rows in held.groupby("server_name"):
        rows = rows.sort_values("time_idx")
        past = train[train["server_name"] == name].sort_values("time_idx")
        cpu = past[TARGET].to_numpy()
        starts = np.arange(0, len(cpu) - HORIZON, 6)
        moved = np.stack([cpu[starts + h] - cpu[starts] for h in range(1, HORIZON + 1)])
        changes = np.quantile(moved, QUANTILES, axis=1).T  # step, quantile
        hours = np.stack([np.quantile(cpu[past["hour"] == h], QUANTILES) for h in range(24)])
        for first in range(0, len(rows) - ENCODER - HORIZON + 1, EVERY):
            w = rows.iloc[first : first + ENCODER + HORIZON]
            actual.append(w[TARGET].to_numpy()[ENCODER:])
            baselines["last reading and its usual changes"].append(last_value(w[TARGET].to_numpy()[ENCODER - 1], changes))
            baselines["quantiles of the same hour"].append(hours[w["hour"].to_numpy(int)[ENCODER:]])
            for b in a.bundles:
                batches[b].append(encode(features[b], w))
    actual = np.stack(actual)

    answers = {name: np.stack(x) for name, x in baselines.items()}
    for b in a.bundles:
        run = session(b / "model.onnx")
        parts = [run.run(["quantiles"], stack(batches[b][i : i + 64]))[0] for i in range(0, len(actual), 64)]
        answers[b.name] = np.clip(np.sort(np.concatenate(parts), axis=-1), 0, 100)
    print(f"{len(actual)} forecasts of {HORIZON} steps from {held['timestamp'].min()} to {held['timestamp'].max()}\n")
    print("| forecast | pinball, all steps | first hour | last hour | truth in p10-p90 | in p02-p98 |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, x in answers.items():
        print(f"| {name} | {pinball(x, actual):.3f} | {pinball(x[:, :12], actual[:, :12]):.3f} "
              f"| {pinball(x[:, -12:], actual[:, -12:]):.3f} | {inside(x, actual, 1, 5):.0%} | {inside(x, actual, 0, 6):.0%} |")  # fmt: skip


if __name__ == "__main__":
    main()
