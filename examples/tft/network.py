"""Builds the network from a checkpoint: as it was trained, and as it is served."""

import json
import os
import pathlib

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from pytorch_forecasting import TemporalFusionTransformer  # noqa: E402
from pytorch_forecasting.data import GroupNormalizer  # noqa: E402
from pytorch_forecasting.metrics import QuantileLoss  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from features import HORIZON, QUANTILES  # noqa: E402

INPUTS = ["static_cat", "static_cont", "encoder_cat", "encoder_cont", "decoder_cont", "target_scale"]


def load(folder: pathlib.Path) -> tuple[TemporalFusionTransformer, dict]:
    """The trained network, ready to forecast, and the content of checkpoint.json."""
    checkpoint = json.loads((folder / "checkpoint.json").read_bytes())
    if checkpoint["schema"] != "tftctl/tft-checkpoint/v1":
        raise SystemExit(f"{folder}: unknown checkpoint schema {checkpoint['schema']!r}")
    torch.set_num_threads(1)
    n = checkpoint["features"]["target_normalizer"]
    model = TemporalFusionTransformer(
        **checkpoint["network"],
        loss=QuantileLoss(quantiles=QUANTILES),
        # Only the way back is used: centers and scales come with each request.
        output_transformer=GroupNormalizer(groups=n["groups"], method=n["method"], transformation=n["transformation"]),
    )
    loaded = load_file(folder / "model.safetensors")
    missing, unexpected = model.load_state_dict(loaded, strict=False)
    # The network holds some weights under two names, the checkpoint under one.
    own = model.state_dict()
    held = {own[name].data_ptr() for name in loaded if name in own}
    lost = [name for name in missing if own[name].data_ptr() not in held and own[name].numel()]
    if unexpected or lost:
        raise SystemExit(f"{folder}: weights do not fit the network: unexpected {unexpected}, missing {lost}")
    return model.eval(), checkpoint


def as_library_input(features: dict, network: dict, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The dictionary that the library's forward takes, from the tensors that are served.

    The library lays all variables side by side for past and future alike; what
    the network does not read of the future is filled with zeros.
    """
    known, unknown, static = features["known_reals"], features["unknown_reals"], features["static_reals"]
    past, future = batch["encoder_cont"], batch["decoder_cont"]

    def reals(own: torch.Tensor, names: list[str]) -> torch.Tensor:
        length = own.shape[1]
        columns = {name: own[..., i : i + 1] for i, name in enumerate(names)}
        columns |= {name: batch["static_cont"][:, None, i : i + 1].expand(-1, length, -1) for i, name in enumerate(static)}
        zero = torch.zeros_like(own[..., :1])
        return torch.cat([columns.get(name, zero) for name in network["x_reals"]], dim=-1)

    profile = batch["static_cat"][:, None, :]
    past_cat = {"profile": profile.expand(-1, past.shape[1], -1), "status": batch["encoder_cat"]}
    future_cat = {"profile": profile.expand(-1, future.shape[1], -1)}
    future_cat["status"] = torch.zeros_like(future_cat["profile"])
    rows = past.shape[0]
    return {
        "encoder_cat": torch.cat([past_cat[name] for name in network["x_categoricals"]], dim=-1),
        "decoder_cat": torch.cat([future_cat[name] for name in network["x_categoricals"]], dim=-1),
        "encoder_cont": reals(past, known + unknown),
        "decoder_cont": reals(future, known),
        "encoder_lengths": torch.full((rows,), past.shape[1], dtype=torch.long),
        "decoder_lengths": torch.full((rows,), future.shape[1], dtype=torch.long),
        "target_scale": batch["target_scale"],
    }


@torch.no_grad()
def forecast(model: TemporalFusionTransformer, checkpoint: dict, batch: dict[str, np.ndarray]) -> np.ndarray:
    """Quantiles [rows, 96, 7] from the library's own network, in the unit of the target."""
    tensors = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in batch.items()}
    return model(as_library_input(checkpoint["features"], checkpoint["network"], tensors)).prediction.numpy()


class Served(torch.nn.Module):
    """The network with named tensors in and quantiles out, in a form that exports.

    It uses the library's trained layers in the library's order. What it leaves
    out changes no result, because every history here is complete: the LSTMs run
    without packing, the attention mask is a constant, context is broadcast
    instead of repeated for each step, and the linear interpolation between
    sizes is a product with a constant matrix.

    It takes the network over: use another one, loaded anew, to compare with.
    """

    def __init__(self, model: TemporalFusionTransformer, checkpoint: dict):
        super().__init__()
        self.tft, f = model, checkpoint["features"]
        self.static_reals, self.known, self.unknown = f["static_reals"], f["known_reals"], f["unknown_reals"]
        self.encoder_length = f["encoder_max"]
        step = torch.arange(HORIZON)
        later = step[None, :] >= step[:, None]  # a step attends to all of the past and to earlier steps
        self.mask = torch.cat([torch.zeros(HORIZON, self.encoder_length, dtype=torch.bool), later], dim=1)[None]
        for m in list(model.modules()):
            if hasattr(m, "interpolate") and hasattr(m, "output_size"):
                m.forward = by_matrix(m.output_size)

    def forward(self, static_cat, static_cont, encoder_cat, encoder_cont, decoder_cont, target_scale):
        tft, embed = self.tft, self.tft.input_embeddings.embeddings
        columns = lambda x, names: dict(zip(names, x.split(1, dim=-1), strict=True))  # noqa: E731

        static, _ = tft.static_variable_selection(
            {"profile": embed["profile"](static_cat[:, 0]), **columns(static_cont, self.static_reals)}
        )
        selecting = tft.static_context_variable_selection(static)[:, None]
        past, _ = tft.encoder_variable_selection(
            {"status": embed["status"](encoder_cat[:, :, 0]), **columns(encoder_cont, self.known + self.unknown)}, selecting
        )
        future, _ = tft.decoder_variable_selection(columns(decoder_cont, self.known), selecting)

        state = tft.static_context_initial_hidden_lstm(static)[None], tft.static_context_initial_cell_lstm(static)[None]
        past_out, state = torch.nn.LSTM.forward(tft.lstm_encoder, past, state)
        future_out, _ = torch.nn.LSTM.forward(tft.lstm_decoder, future, state)
        past_out = tft.post_lstm_add_norm_encoder(tft.post_lstm_gate_encoder(past_out), past)
        future_out = tft.post_lstm_add_norm_decoder(tft.post_lstm_gate_decoder(future_out), future)

        both = torch.cat([past_out, future_out], dim=1)
        enriched = tft.static_enrichment(both, tft.static_context_enrichment(static)[:, None])
        asking = enriched[:, self.encoder_length :]
        attended, _ = tft.multihead_attn(q=asking, k=enriched, v=enriched, mask=self.mask)
        attended = tft.post_attn_gate_norm(attended, asking)
        out = tft.output_layer(tft.pre_output_gate_norm(tft.pos_wise_ff(attended), future_out))
        return tft.transform_output(out, target_scale=target_scale)


def by_matrix(to: int):
    """Linear interpolation of the last axis to a size, ends aligned, as a matrix product."""

    def interpolate(x: torch.Tensor) -> torch.Tensor:
        have = int(x.shape[-1])
        unit = torch.eye(have)[:, None, :]
        matrix = torch.nn.functional.interpolate(unit, to, mode="linear", align_corners=True)[:, 0, :]
        return x @ torch.from_numpy(matrix.numpy().copy())

    return interpolate
