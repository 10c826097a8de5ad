"""Turns readings into the model's input tensors, from features.json alone.

Whoever serves the model has to do exactly this. train.py compares it with what
pytorch-forecasting feeds to the network and stops if the two differ.
"""

import json
import math
import pathlib

import numpy as np
import pandas as pd

from generate import METRICS, START, STATES, STEP_SECONDS, STEPS_PER_DAY

ENCODER, HORIZON = 144, 96
QUANTILES = [0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98]
TARGET = "cpu_user_pct"
KNOWN = ["hour", "day_of_week", "month", "is_weekend", "relative_time_idx"]
STATIC = ["encoder_length", f"{TARGET}_center", f"{TARGET}_scale"]

# What the model sees of a reading is held inside these bounds. An idle or
# offline server reads 0 % CPU, which the softplus normalizer would send to
# minus 36; uptime is bounded by the record contract.
CLIP = {TARGET: (0.1, 100.0), "uptime_days": (0.0, 365.0)}

TRAIN_DAYS, VALIDATION_DAYS = 28, 7  # of the generated 42; the rest is held out


def read_fleet(path: pathlib.Path) -> pd.DataFrame:
    """Reads generate.py's CSV and adds time_idx and the features of time, in UTC."""
    d = pd.read_csv(path, dtype={"server_id": str})
    t = pd.to_datetime(d["timestamp"], utc=True)
    d["time_idx"] = ((t - START).dt.total_seconds() // STEP_SECONDS).astype(int)
    d["hour"] = t.dt.hour.astype(float)
    d["day_of_week"] = t.dt.dayofweek.astype(float)
    d["month"] = t.dt.month.astype(float)
    d["is_weekend"] = (t.dt.dayofweek >= 5).astype(float)
    for metric in METRICS:
        d[metric] = d[metric].astype(float)
    for metric, (low, high) in CLIP.items():
        d[metric] = d[metric].clip(low, high)
    return d


def split(d: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Training, validation and held-out rows, by time."""
    a = TRAIN_DAYS * STEPS_PER_DAY
    b = a + VALIDATION_DAYS * STEPS_PER_DAY
    i = d["time_idx"]
    return d[i < a], d[(i >= a) & (i < b)], d[i >= b]


def softplus_inverse(y: np.ndarray, eps: float) -> np.ndarray:
    """The inverse of log(1 + exp(x)); above 20 the two are taken as equal."""
    small = np.minimum(y, 20.0)
    return np.where(y > 20.0, y, small + np.log(-np.expm1(-(small + eps))))


def target_scale(features: dict, server: str) -> tuple[float, float]:
    """Center and scale of a server's target; those of the fallback if it is unknown."""
    n = features["target_normalizer"]
    s = n["servers"].get(server, n["fallback"])
    return s["center"], s["scale"]


def encode(features: dict, window: pd.DataFrame) -> dict[str, np.ndarray]:
    """The tensors of one row of a batch.

    window has ENCODER + HORIZON rows of one server in order of time. Of the
    last HORIZON rows only the features of time are read.
    """
    server = window["server_id"].iloc[0]
    center, scale = target_scale(features, server)
    n = features["target_normalizer"]
    past, future = window.iloc[:ENCODER], window.iloc[ENCODER:]

    def scaled(name: str, values: np.ndarray) -> np.ndarray:
        s = features["scalers"][name]
        if s["method"] == "target_normalizer":
            return (softplus_inverse(values, n["eps"]) - center) / scale
        return (values - s["mean"]) / s["scale"]

    def reals(rows: pd.DataFrame, names: list[str], first: int) -> np.ndarray:
        columns = []
        for name in names:
            if name == "relative_time_idx":
                columns.append(np.arange(first, first + len(rows)) / features["encoder_max"])
            else:
                columns.append(scaled(name, rows[name].to_numpy(float)))
        return np.stack(columns, axis=1).astype(np.float32)

    def code(vocabulary: str, value: str) -> int:
        classes = features["vocabularies"][vocabulary]
        return classes.index(value) if value in classes else 0

    static = [
        (ENCODER / features["encoder_max"] - 0.5) * 2,
        scaled(f"{TARGET}_center", np.array(center)),
        scaled(f"{TARGET}_scale", np.array(scale)),
    ]
    return {
        "static_cat": np.array([code("profile", window["profile"].iloc[0])], np.int64),
        "static_cont": np.array(static, np.float32),
        "encoder_cat": np.array([[code("status", s)] for s in past["status"]], np.int64),
        "encoder_cont": reals(past, features["known_reals"] + features["unknown_reals"], -ENCODER),
        "decoder_cont": reals(future, features["known_reals"], 0),
        "target_scale": np.array([center, scale], np.float32),
    }


def stack(rows: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Puts rows together to a batch."""
    return {name: np.stack([r[name] for r in rows]) for name in rows[0]}


def describe(dataset, servers: pd.DataFrame) -> dict:
    """The content of features.json, taken from a fitted TimeSeriesDataSet."""
    parameters = dataset.get_parameters()
    normalizer = parameters["target_normalizer"]
    number = lambda x: float(np.asarray(x).reshape(()))  # noqa: E731

    scalers = {}
    for name in STATIC + KNOWN + METRICS:
        if name == TARGET:
            scalers[name] = {"method": "target_normalizer"}
        elif name in ("encoder_length", "relative_time_idx"):
            scalers[name] = {"method": "position"}
        else:
            s = parameters["scalers"][name]
            scalers[name] = {
                "method": "standard", "mean": number(s.mean_), "scale": number(s.scale_),
                "var": number(s.var_), "n": int(s.n_samples_seen_),
            }  # fmt: skip

    def classes(name: str) -> list[str]:
        coded = parameters["categorical_encoders"][name].classes_
        return [str(c) for c, _ in sorted(coded.items(), key=lambda x: x[1])]

    ids = dict(sorted(zip(servers["server_name"], servers["server_id"], strict=True)))
    norms, coded = normalizer.norm_, classes("server_id")  # the library keeps them by code
    by_id = {coded[i]: {"center": number(norms.loc[i, "center"]), "scale": number(norms.loc[i, "scale"])} for i in norms.index}
    return {
        "schema": "tftctl/features/v1",
        "contract_version": "2.0.0",
        "step_seconds": STEP_SECONDS,
        "timezone": "UTC",
        "encoder_min": ENCODER,
        "encoder_max": ENCODER,
        "prediction_length": HORIZON,
        "prediction_min": HORIZON,
        "prediction_max": HORIZON,
        "targets": [TARGET],
        "group_ids": ["server_id"],
        "static_categoricals": ["profile"],
        "static_reals": STATIC,
        "known_reals": KNOWN,
        "unknown_categoricals": ["status"],
        "unknown_reals": METRICS,
        "time_idx": "time_idx",
        "flags": {
            "allow_missing_timesteps": True, "add_relative_time_idx": True,
            "add_target_scales": True, "add_encoder_length": True,
        },
        "quantiles": QUANTILES,
        "quantile_index": {"p10": 1, "p50": 3, "p90": 5},
        "unique_states": STATES,
        # In each, class 0 stands for what is missing or unknown.
        "vocabularies": {"profile": classes("profile"), "server_id": ["nan", *coded], "status": classes("status")},
        "server_mapping": {
            "version": "1.0.0", "name_to_id": ids, "id_to_name": {i: n for n, i in ids.items()}, "total_servers": len(ids),
        },
        "clip": {m: list(bounds) for m, bounds in CLIP.items()},
        "scalers": scalers,
        "target_normalizer": {
            "method": "standard", "transformation": "softplus", "centered": True,
            "eps": sys_eps(), "groups": ["server_id"],
            "servers": dict(sorted(by_id.items())),
            "fallback": {k: number(v) for k, v in sorted(normalizer.missing_.items())},
        },
    }  # fmt: skip


def sys_eps() -> float:
    """What keeps the normalizer's logarithm finite: the machine epsilon of float64."""
    return math.ulp(1.0)


def dump(value: object, compact: bool = False) -> bytes:
    """JSON bytes that depend on the value alone; NaN and infinity are refused."""
    if compact:
        return (json.dumps(value, separators=(",", ":"), allow_nan=False) + "\n").encode()
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()
