"""Checks the committed bundles: needs onnxruntime, onnx and numpy, no torch.

    python test_export.py

Everything is read as a server would read it: digests first, then the schema,
then the requests of the golden answers against the schema and the graph.
"""

import hashlib
import json
import os
import pathlib
import unittest

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
import onnxruntime

HERE = pathlib.Path(__file__).parent
BUNDLES = {"v1": "golden.json", "v2": "golden-v2.json"}
TOLERANCE = 1e-4


def read(path: pathlib.Path):
    return json.loads(path.read_bytes())


def tensors(instances: list[dict], schema: dict) -> dict[str, np.ndarray]:
    """A batch of instances; refuses what the schema does not allow."""
    names = [t["name"] for t in schema["inputs"]]
    batch = {}
    for i, instance in enumerate(instances):
        if sorted(instance) != sorted(names):
            raise ValueError(f"instances[{i}] has {sorted(instance)}, want {sorted(names)}")
    for t in schema["inputs"]:
        raw = np.array([i[t["name"]] for i in instances])
        x = raw.astype(t["dtype"])
        if list(x.shape[1:]) != t["shape"]:
            raise ValueError(f"{t['name']} has shape {x.shape[1:]}, want {t['shape']}")
        if not np.isfinite(x).all():
            raise ValueError(f"{t['name']} is not finite")
        if t["dtype"] == "int64":
            if raw.dtype.kind != "i":
                raise ValueError(f"{t['name']} is not whole")
            for c, column in enumerate(t["columns"]):
                if x[..., c].min() < 0 or x[..., c].max() >= column["categories"]:
                    raise ValueError(f"{t['name']}.{column['name']} is outside its {column['categories']} categories")
        batch[t["name"]] = x
    return batch


def session(bundle: pathlib.Path) -> onnxruntime.InferenceSession:
    o = onnxruntime.SessionOptions()
    o.intra_op_num_threads = o.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(bundle / "model.onnx"), o, providers=["CPUExecutionProvider"])


class Bundles(unittest.TestCase):
    def each(self):
        for version, golden in BUNDLES.items():
            yield HERE / "models" / version, read(HERE / golden)

    def test_the_manifest_describes_every_file(self):
        for bundle, golden in self.each():
            content = (bundle / "manifest.json").read_bytes()
            self.assertEqual("sha256:" + hashlib.sha256(content).hexdigest(), golden["model_digest"])
            files = json.loads(content)["files"]
            self.assertEqual([f["path"] for f in files], sorted(p.name for p in bundle.iterdir() if p.name != "manifest.json"))
            for f in files:
                data = (bundle / f["path"]).read_bytes()
                self.assertEqual((len(data), hashlib.sha256(data).hexdigest()), (f["bytes"], f["sha256"]), f["path"])

    def test_the_graph_is_what_the_schema_says(self):
        for bundle, _ in self.each():
            m, schema = onnx.load(bundle / "model.onnx"), read(bundle / "schema.json")
            self.assertLessEqual((bundle / "model.onnx").stat().st_size, 4 << 20)
            self.assertEqual({o.domain for o in m.opset_import} | {n.domain for n in m.graph.node}, {""})
            types = {"float32": onnx.TensorProto.FLOAT, "int64": onnx.TensorProto.INT64}
            for values, described in ((m.graph.input, schema["inputs"]), (m.graph.output, schema["outputs"])):
                self.assertEqual([v.name for v in values], [t["name"] for t in described])
                for v, t in zip(values, described, strict=True):
                    dims = v.type.tensor_type.shape.dim
                    self.assertEqual(dims[0].dim_param, "batch")
                    self.assertEqual([d.dim_value for d in dims[1:]], t["shape"])
                    self.assertEqual(v.type.tensor_type.elem_type, types[t["dtype"]])
                    self.assertEqual(len(t["columns"]), t["shape"][-1])

    def test_onnx_runtime_gives_the_golden_answers(self):
        for bundle, golden in self.each():
            schema, run = read(bundle / "schema.json"), session(bundle)
            requests = golden["requests"]
            want = np.array([r["prediction"]["quantiles"] for r in requests], np.float32)
            self.assertAlmostEqual(float(want.astype(np.float64).std()), golden["output_std"]["quantiles"], places=6)
            for rows in (1, 7, len(requests)):
                got = run.run(["quantiles"], tensors([r["instance"] for r in requests[:rows]], schema))[0]
                worst = float(np.abs(got - want[:rows]).max()) / golden["output_std"]["quantiles"]
                self.assertLessEqual(worst, TOLERANCE, f"{bundle.name}, batch of {rows}")

    def test_the_sample_works(self):
        for bundle, _ in self.each():
            batch = tensors(read(bundle / "sample.json")["instances"], read(bundle / "schema.json"))
            self.assertTrue(np.isfinite(session(bundle).run(["quantiles"], batch)[0]).all())

    def test_the_versions_answer_differently(self):
        golden = read(HERE / "golden.json")
        answers = []
        for version in BUNDLES:
            bundle = HERE / "models" / version
            batch = tensors([r["instance"] for r in golden["requests"]], read(bundle / "schema.json"))
            answers.append(session(bundle).run(["quantiles"], batch)[0])
        each = np.abs(answers[0] - answers[1]).max(axis=(1, 2))  # of each request
        self.assertGreater(each.min(), 100 * TOLERANCE * golden["output_std"]["quantiles"])


if __name__ == "__main__":
    unittest.main()
