"""Turns a checkpoint into a model bundle that tftserve serves.

Writes nothing unless ONNX Runtime gives PyTorch's answers. The same checkpoint
gives the same bytes.
"""

import argparse
import hashlib
import os
import pathlib
import shutil
import tempfile
import warnings

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
import onnxruntime
import torch

from features import ENCODER, HORIZON, QUANTILES, dump, stack
from generate import METRICS, PROFILES, STATES, UNITS
from golden import BATCHES, TOLERANCE, as_instance, held_out
from network import INPUTS, Served, forecast, load

OPSET = 17
MAX_BYTES = 4 << 20
DESCRIPTION = "TemporalFusionTransformer, CPU user percent of servers, 96 steps of 300 s"


def schema(features: dict) -> dict:
    """schema.json: the graph's inputs and outputs, batch axis left out."""
    scaled = lambda names: [{"name": n, "unit": "1"} for n in names]  # noqa: E731
    known, unknown = features["known_reals"], features["unknown_reals"]
    classes = features["vocabularies"]
    tensors = {
        "static_cat": ("int64", [1], [{"name": "profile", "unit": "1", "categories": len(classes["profile"])}]),
        "static_cont": ("float32", [len(features["static_reals"])], scaled(features["static_reals"])),
        "encoder_cat": ("int64", [ENCODER, 1], [{"name": "status", "unit": "1", "categories": len(classes["status"])}]),
        "encoder_cont": ("float32", [ENCODER, len(known) + len(unknown)], scaled(known + unknown)),
        "decoder_cont": ("float32", [HORIZON, len(known)], scaled(known)),
        # In the normalizer's space, where large percentages stay what they are.
        "target_scale": ("float32", [2], [{"name": "center", "unit": "%"}, {"name": "scale", "unit": "%"}]),
    }
    quantiles = [{"name": f"p{round(100 * q):02d}", "unit": UNITS[METRICS.index(features["targets"][0])]} for q in QUANTILES]
    return {
        "schema": "tftctl/model-schema/v1",
        "inputs": [{"name": n, "dtype": t[0], "shape": t[1], "columns": t[2]} for n, t in ((n, tensors[n]) for n in INPUTS)],
        "outputs": [{"name": "quantiles", "dtype": "float32", "shape": [HORIZON, len(QUANTILES)], "columns": quantiles}],
    }


def to_onnx(checkpoint_dir: pathlib.Path, batch: dict[str, np.ndarray], path: pathlib.Path) -> None:
    """Writes the graph: dynamic batch, standard operators, weights inside."""
    model, checkpoint = load(checkpoint_dir)
    served = Served(model, checkpoint).eval()
    example = tuple(torch.from_numpy(batch[name][:3]) for name in INPUTS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            served, example, str(path), input_names=INPUTS, output_names=["quantiles"], opset_version=OPSET,
            dynamic_axes={name: {0: "batch"} for name in [*INPUTS, "quantiles"]}, dynamo=False,
        )  # fmt: skip
    graph = onnx.load(path)
    tidy(graph)
    onnx.checker.check_model(graph, full_check=True)
    path.write_bytes(graph.SerializeToString(deterministic=True))


def tidy(m: onnx.ModelProto) -> None:
    """Refuses what the server must not meet, and names the graph."""
    domains = {n.domain for n in m.graph.node} | {o.domain for o in m.opset_import}
    if domains - {"", "ai.onnx"}:
        raise SystemExit(f"the graph uses operators outside ai.onnx: {sorted(domains)}")
    for t in m.graph.initializer:
        if t.data_location == onnx.TensorProto.EXTERNAL:
            raise SystemExit(f"weight {t.name} lies outside the model file")
    for v in [*m.graph.input, *m.graph.output]:
        if v.type.tensor_type.shape.dim[0].dim_param != "batch":
            raise SystemExit(f"{v.name} has no dynamic batch")
    shape = [d.dim_value for d in m.graph.output[0].type.tensor_type.shape.dim][1:]
    if shape != [HORIZON, len(QUANTILES)]:
        del m.graph.output[0].type.tensor_type.shape.dim[1:]
        for size in (HORIZON, len(QUANTILES)):
            m.graph.output[0].type.tensor_type.shape.dim.add().dim_value = size
    m.graph.name = "tft"
    m.doc_string = DESCRIPTION
    for n in m.graph.node:
        n.ClearField("doc_string")
        n.ClearField("metadata_props")


def session(path: pathlib.Path) -> onnxruntime.InferenceSession:
    """A session on one thread."""
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads = o.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), o, providers=["CPUExecutionProvider"])


def check(path: pathlib.Path, checkpoint_dir: pathlib.Path, batch: dict[str, np.ndarray]) -> float:
    """The largest difference from PyTorch, in standard deviations of its answers."""
    model, checkpoint = load(checkpoint_dir)
    run, worst = session(path), 0.0
    for rows in BATCHES:
        part = {name: x[:rows] for name, x in batch.items()}
        want = forecast(model, checkpoint, part)
        got = run.run(["quantiles"], part)[0]
        if got.shape != want.shape or got.dtype != want.dtype or not np.isfinite(got).all():
            raise SystemExit(f"batch of {rows}: ONNX Runtime answers {got.dtype} {got.shape}, PyTorch {want.dtype} {want.shape}")
        worst = max(worst, float(np.abs(got - want).max() / want.std()))
    return worst


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("checkpoint", type=pathlib.Path, help="folder such as checkpoints/v1")
    p.add_argument("out", type=pathlib.Path, help="folder such as models/v1; replaced")
    p.add_argument("--data", type=pathlib.Path, default=pathlib.Path("build/fleet.csv"))
    p.add_argument("--name", default="forecast")
    a = p.parse_args()

    _, checkpoint = load(a.checkpoint)
    features = checkpoint["features"]
    if features["unique_states"] != STATES or features["vocabularies"]["profile"][1:] != PROFILES:
        raise SystemExit("the checkpoint was trained on other states or profiles than generate.py makes")
    rows, _ = held_out(a.data, features)
    batch = stack(rows)

    a.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=a.out.parent) as temporary:
        folder = pathlib.Path(temporary) / "bundle"
        folder.mkdir()
        to_onnx(a.checkpoint, batch, folder / "model.onnx")
        worst = check(folder / "model.onnx", a.checkpoint, batch)
        if worst > TOLERANCE:
            raise SystemExit(f"ONNX Runtime differs from PyTorch by {worst:.1e} standard deviations, {TOLERANCE:.0e} is allowed")
        size = (folder / "model.onnx").stat().st_size
        if size > MAX_BYTES:
            raise SystemExit(f"model.onnx has {size} bytes, {MAX_BYTES} are allowed")

        (folder / "schema.json").write_bytes(dump(schema(features)))
        (folder / "features.json").write_bytes(dump(features))
        (folder / "sample.json").write_bytes(dump({"instances": [as_instance(rows[0])]}, compact=True))
        weights = (a.checkpoint / "model.safetensors").read_bytes()
        manifest = {
            "schema": "tftctl/manifest/v1",
            "name": a.name,
            "model": "model.onnx",
            "files": [describe_file(f, folder) for f in sorted(folder.iterdir(), key=lambda f: f.name)],
            "provenance": {
                "checkpoint_sha256": hashlib.sha256(weights).hexdigest(),
                "framework": f"pytorch-forecasting TemporalFusionTransformer, torch {checkpoint['training']['torch']}",
                "producer": "examples/tft/export.py",
                "seed": str(checkpoint["training"]["seed"]),
                "variant": checkpoint["variant"],
            },
        }
        (folder / "manifest.json").write_bytes(dump(manifest))
        if a.out.exists():
            shutil.rmtree(a.out)
        folder.rename(a.out)
    digest = hashlib.sha256((a.out / "manifest.json").read_bytes()).hexdigest()
    print(f"{a.out}: sha256:{digest}, model.onnx {size} bytes, ONNX Runtime within {worst:.1e} standard deviations of PyTorch")


def describe_file(f: pathlib.Path, folder: pathlib.Path) -> dict:
    content = f.read_bytes()
    return {"path": f.relative_to(folder).as_posix(), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


if __name__ == "__main__":
    main()
