#!/usr/bin/env bash
# onnxruntime 1.32.0: a model made 8 bits wide by quantize_dynamic() rounds what flows into each matrix by one scale for
# the whole tensor, found anew at each call, not by one for each row. So what one text gets depends on whose texts share
# its batch: a large number in another row makes the steps coarser for all. Alone, or beside a row like it, a hundredth
# of the vector is off; beside a row that holds a 100 a tenth, beside a 1000 nearly all of it. Nothing is said, the
# model in floats has none of it, and a vector that was kept yesterday is not the one of the same text in another batch
# today.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cat > run.py <<'PY'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import quantize_dynamic

rng = np.random.default_rng(0)
weights = numpy_helper.from_array(rng.normal(size=(256, 256)).astype(np.float32) / 16, "weights")
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 256]) for name in ("text", "vector")]
layer = helper.make_node("MatMul", ["text", "weights"], ["vector"])
graph = helper.make_graph([layer], "layer", ends[:1], ends[1:], [weights])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), "float.onnx")
quantize_dynamic("float.onnx", "eight.onnx")
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
models = {name: onnxruntime.InferenceSession(f"{name}.onnx", options) for name in ("float", "eight")}
text = rng.normal(size=(1, 256)).astype(np.float32)


def vector(model, others):
    return models[model].run(None, {"text": np.concatenate([text, others])})[0][0]


true = vector("float", text[:0])
for model in models:
    cases = {"alone": None, "beside a row like it": 3.0, "beside one with a 100": 100.0, "beside one with a 1000": 1000.0}
    for name, largest in cases.items():
        others = rng.normal(size=(0 if largest is None else 1, 256)).astype(np.float32)
        others[:, :1] = largest or 0
        off = np.linalg.norm(vector(model, others) - true) / np.linalg.norm(true)
        print(f"onnxruntime {onnxruntime.__version__}, {model}, {name}: {off:.2f} of the vector is wrong", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
[ "$(grep -c 'float, .*: 0.00 of' seen)" = 4 ]
grep -q "eight, alone: 0.01" seen && grep -q "eight, beside a row like it: 0.01" seen
grep -q "eight, beside one with a 100: 0.1" seen && grep -q "eight, beside one with a 1000: 0.9" seen
