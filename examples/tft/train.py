"""Trains a TemporalFusionTransformer and writes a checkpoint without pickle.

A checkpoint is a folder: model.safetensors (weights) and checkpoint.json (what
it takes to build the network again, the scalers and vocabularies of the data,
and how it was trained).
"""

import argparse
import json
import os
import pathlib
import resource
import time
import warnings

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # the same result on every machine comes before speed

import lightning.pytorch as pl  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from pytorch_forecasting import TemporalFusionTransformer, TimeSeriesDataSet  # noqa: E402
from pytorch_forecasting.data import GroupNormalizer, NaNLabelEncoder  # noqa: E402
from pytorch_forecasting.metrics import QuantileLoss  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from features import ENCODER, HORIZON, KNOWN, QUANTILES, TARGET, describe, dump, encode, read_fleet, split  # noqa: E402
from generate import METRICS, PROFILES, STATES, STEPS_PER_DAY  # noqa: E402

NETWORK = {
    "hidden_size": 16,
    "hidden_continuous_size": 8,
    "attention_head_size": 4,
    "lstm_layers": 1,
    "dropout": 0.1,
}
VARIANTS = {
    "v1": {"seed": 42, "epochs": 10, "batches": 60, "batch_size": 64, "learning_rate": 0.01},
    "v2": {"seed": 7, "epochs": 20, "batches": 60, "batch_size": 64, "learning_rate": 0.01},
}


def dataset(train: pd.DataFrame) -> TimeSeriesDataSet:
    """The windows of the training rows: 144 steps of history, 96 to forecast."""
    return TimeSeriesDataSet(
        train,
        time_idx="time_idx",
        target=TARGET,
        group_ids=["server_id"],
        min_encoder_length=ENCODER,
        max_encoder_length=ENCODER,
        min_prediction_length=HORIZON,
        max_prediction_length=HORIZON,
        static_categoricals=["profile"],
        time_varying_known_reals=[k for k in KNOWN if k != "relative_time_idx"],
        time_varying_unknown_categoricals=["status"],
        time_varying_unknown_reals=METRICS,
        categorical_encoders={
            "profile": NaNLabelEncoder(add_nan=True).fit(pd.Series(PROFILES)),
            "status": NaNLabelEncoder(add_nan=True).fit(pd.Series(STATES)),
        },
        # server_id keeps the library's own encoder: with add_nan the library
        # looks scales up one server too far when it puts a batch together.
        target_normalizer=GroupNormalizer(groups=["server_id"], method="standard", transformation="softplus"),
        allow_missing_timesteps=True,
        add_relative_time_idx=True,
        add_target_scales=True,
        add_encoder_length=True,
    )


def check_features(features: dict, data: TimeSeriesDataSet, rows: pd.DataFrame) -> float:
    """The largest difference between our tensors and the library's, over some windows."""
    batch, _ = next(iter(data.to_dataloader(train=True, batch_size=32, num_workers=0)))
    reals, cats = data.reals, data.flat_categoricals
    known, encoder = features["known_reals"], features["known_reals"] + features["unknown_reals"]
    index = data.x_to_index(batch)  # server and first step of the forecast
    by_server = {s: d.sort_values("time_idx") for s, d in rows.groupby("server_id")}
    worst = 0.0

    def pick(x: torch.Tensor, names: list[str], order: list[str]) -> np.ndarray:
        return x[..., [order.index(n) for n in names]].numpy()

    for i in range(32):
        first = int(index["time_idx"].iloc[i]) - ENCODER
        w = by_server[str(index["server_id"].iloc[i])]
        w = w[(w["time_idx"] >= first) & (w["time_idx"] < first + ENCODER + HORIZON)]
        ours = encode(features, w)
        theirs = {
            "static_cat": pick(batch["encoder_cat"][i], ["profile"], cats)[0],
            "static_cont": pick(batch["encoder_cont"][i], features["static_reals"], reals)[0],
            "encoder_cat": pick(batch["encoder_cat"][i], ["status"], cats),
            "encoder_cont": pick(batch["encoder_cont"][i], encoder, reals),
            "decoder_cont": pick(batch["decoder_cont"][i], known, reals),
            "target_scale": batch["target_scale"][i].numpy(),
        }
        for name, x in theirs.items():
            worst = max(worst, float(np.abs(x - ours[name]).max()))
    return worst


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("variant", choices=sorted(VARIANTS))
    p.add_argument("--data", type=pathlib.Path, default=pathlib.Path("build/fleet.csv"))
    p.add_argument("--out", type=pathlib.Path, help="default: checkpoints/VARIANT")
    p.add_argument("--epochs", type=int, help="fewer, for a trial")
    a = p.parse_args()
    v = dict(VARIANTS[a.variant])
    v["epochs"] = a.epochs or v["epochs"]
    out = a.out or pathlib.Path("checkpoints") / a.variant

    warnings.filterwarnings("ignore", module="lightning|pytorch_lightning|pytorch_forecasting|sklearn")
    torch.set_num_threads(1)
    pl.seed_everything(v["seed"], workers=True)
    began = time.monotonic()

    rows = read_fleet(a.data)
    train, validation, _ = split(rows)
    data = dataset(train)
    features = describe(data, rows[["server_name", "server_id"]].drop_duplicates())
    difference = check_features(features, data, train)
    print(f"{len(data)} windows; features.py differs from the library by at most {difference:.1e}")
    if difference > 1e-5:
        raise SystemExit("features.py does not feed the network what it is trained on: bring the two together first")

    held = TimeSeriesDataSet.from_dataset(data, validation, stop_randomization=True)
    every = torch.utils.data.Subset(held, range(0, len(held), max(1, len(held) // 512)))
    every_loader = torch.utils.data.DataLoader(every, batch_size=128, collate_fn=held._collate_fn)
    model = TemporalFusionTransformer.from_dataset(
        data, loss=QuantileLoss(quantiles=QUANTILES), learning_rate=v["learning_rate"],
        reduce_on_plateau_patience=2, log_interval=-1, **NETWORK,
    )  # fmt: skip
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=v["epochs"], limit_train_batches=v["batches"], gradient_clip_val=0.1,
        logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, deterministic=True, callbacks=[Report()],
    )  # fmt: skip
    trainer.fit(model, data.to_dataloader(train=True, batch_size=v["batch_size"], num_workers=0), every_loader)
    seconds = time.monotonic() - began

    keep = ("static_categoricals", "static_reals", "time_varying_categoricals_encoder", "time_varying_categoricals_decoder",
            "time_varying_reals_encoder", "time_varying_reals_decoder", "x_reals", "x_categoricals", "embedding_sizes",
            "embedding_paddings", "categorical_groups", "max_encoder_length", "output_size", *NETWORK)  # fmt: skip
    network = {k: model.hparams[k] for k in keep}
    network["embedding_sizes"] = {k: [int(x) for x in s] for k, s in network["embedding_sizes"].items()}
    out.mkdir(parents=True, exist_ok=True)
    save_file({k: t.contiguous() for k, t in unique_tensors(model).items()}, out / "model.safetensors")
    checkpoint = {
        "schema": "tftctl/tft-checkpoint/v1",
        "variant": a.variant,
        "network": network,
        "features": features,
        "training": {
            **v,
            "windows": len(data),
            "first_day": str(train["timestamp"].min())[:10],
            "last_day": str(train["timestamp"].max())[:10],
            "steps_per_day": STEPS_PER_DAY,
            "parameters": sum(p.numel() for p in model.parameters()),
            "validation_loss": round(float(trainer.callback_metrics["val_loss"]), 4),
            "torch": torch.__version__.split("+")[0],
        },
    }
    (out / "checkpoint.json").write_bytes(dump(json.loads(json.dumps(checkpoint))))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{out}: {checkpoint['training']['parameters']} parameters, {seconds:.0f} s, {peak:.0f} MiB at most")


def unique_tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights, each once: the network holds some under several names."""
    seen, out = set(), {}
    for name, t in model.state_dict().items():
        if t.data_ptr() not in seen or t.numel() == 0:
            seen.add(t.data_ptr())
            out[name] = t.detach().clone()
    return out


class Report(pl.Callback):
    """Prints a line for each epoch."""

    def on_train_epoch_start(self, trainer, model):
        self.began = time.monotonic()

    def on_validation_end(self, trainer, model):
        m = trainer.callback_metrics
        print(f"epoch {trainer.current_epoch + 1}: val_loss {float(m['val_loss']):.4f}, "
              f"{time.monotonic() - self.began:.0f} s", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
