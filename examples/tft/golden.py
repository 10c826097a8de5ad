"""Writes golden answers: requests from held-out data with PyTorch's own answers.

The answers come from the library's network, not from ONNX, so they test the
export and whatever serves it alike.
"""

import argparse
import hashlib
import pathlib

import numpy as np

from features import ENCODER, HORIZON, TARGET, dump, encode, read_fleet, split, stack
from network import forecast, load

REQUESTS = 32
BATCHES = (1, 7, 32)
TOLERANCE = 1e-4  # of the standard deviation of the answers


def held_out(data: pathlib.Path, features: dict) -> tuple[list[dict[str, np.ndarray]], list[dict]]:
    """Encoded requests from the held-out days over all servers, and what they came from.

    For each, where it came from: server, first step of the forecast, the last
    reading, and the readings that came true.
    """
    _, _, rows = split(read_fleet(data))
    servers = {name: d.sort_values("time_idx") for name, d in rows.groupby("server_name")}
    names = sorted(servers)
    places = len(servers[names[0]]) - ENCODER - HORIZON
    encoded, origin = [], []
    for i in range(REQUESTS):
        name = names[i % len(names)]
        first = i * places // (REQUESTS - 1)
        window = servers[name].iloc[first : first + ENCODER + HORIZON]
        encoded.append(encode(features, window))
        cpu = window[TARGET].to_numpy()
        origin.append({"server": name, "time": window["timestamp"].iloc[ENCODER], "last": cpu[ENCODER - 1], "actual": cpu[ENCODER:]})
    return encoded, origin


def shortest(x: np.ndarray):
    """Nested lists of the shortest numbers that read back as the same float32."""
    if x.dtype == np.int64:
        return x.tolist()
    if x.ndim:
        return [shortest(part) for part in x]
    value = float(str(np.float32(x)))
    return int(value) if value.is_integer() and abs(value) < 1e6 else value


def as_instance(row: dict[str, np.ndarray]) -> dict:
    """A row of a batch as an instance of a request."""
    return {name: shortest(x) for name, x in row.items()}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("checkpoint", type=pathlib.Path)
    p.add_argument("bundle", type=pathlib.Path, help="exported from the same checkpoint; its digest is named")
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--data", type=pathlib.Path, default=pathlib.Path("build/fleet.csv"))
    p.add_argument("--requests", type=int, default=REQUESTS)
    a = p.parse_args()

    model, checkpoint = load(a.checkpoint)
    weights = hashlib.sha256((a.checkpoint / "model.safetensors").read_bytes()).hexdigest()
    manifest = (a.bundle / "manifest.json").read_bytes()
    if weights.encode() not in manifest:
        raise SystemExit(f"{a.bundle} was exported from another checkpoint than {a.checkpoint}: export it again")
    rows, _ = held_out(a.data, checkpoint["features"])
    rows = rows[: a.requests]
    answers = forecast(model, checkpoint, stack(rows))
    golden = {
        "schema": "tftctl/golden/v1",
        "model_digest": "sha256:" + hashlib.sha256(manifest).hexdigest(),
        "output_std": {"quantiles": float(answers.astype(np.float64).std())},
        "requests": [{"instance": as_instance(r), "prediction": {"quantiles": shortest(x)}} for r, x in zip(rows, answers, strict=True)],
    }
    content = dump(golden, compact=True)
    a.out.write_bytes(content)
    print(f"{a.out}: {len(rows)} requests, {len(content)} bytes, standard deviation {golden['output_std']['quantiles']:.3f}")


if __name__ == "__main__":
    main()
