#!/usr/bin/env bash
# optax 0.2.8: softmax_cross_entropy_with_integer_labels() with labels of which some are -100, as the collators of
# transformers mark what is not to be learned. There is no such mark here: -100 counts
# from the end, as an index of Python does, so that each padded place and each token of the prompt teaches the model to
# say one token of its vocabulary, the hundredth from the end. The loss is finite and
# nothing is said. A label beyond the vocabulary, and -100 in one of less than a hundred tokens, gives NaN, so one takes
# labels for checked.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check optax==0.2.8 jax==0.10.2
cat > run.py <<'PY'
from importlib.metadata import version

import jax
import jax.numpy as jnp
import optax


def taught(label, size):
    """The tokens that one step of gradient descent from a model without an opinion makes likelier."""
    loss = lambda logits: optax.softmax_cross_entropy_with_integer_labels(logits, jnp.array(label))
    value, slope = jax.value_and_grad(loss)(jnp.zeros(size))
    return float(value), jnp.flatnonzero(slope < 0).tolist()


for size, label in ((32_000, 5), (32_000, -100), (32_000, 32_000), (50, -100)):
    value, tokens = taught(label, size)
    print(f"optax {version('optax')}, {size} tokens, label {label}: loss {value:.2f}, makes {tokens} likelier", flush=True)
labels = jnp.array([5, -100, -100, -100])
logits = jnp.zeros((4, 32_000)).at[:, 31_900].set(9.0)
mean = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
right = optax.softmax_cross_entropy_with_integer_labels(logits[:1], labels[:1]).mean()
print(f"optax {version('optax')}, one label and three of -100: loss {mean:.2f}, of the one {right:.2f}", flush=True)
PY
JAX_PLATFORMS=cpu env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff <(sed 's/^[^,]*, //' seen) - <<'SEEN'
32000 tokens, label 5: loss 10.37, makes [5] likelier
32000 tokens, label -100: loss 10.37, makes [31900] likelier
32000 tokens, label 32000: loss nan, makes [] likelier
50 tokens, label -100: loss nan, makes [] likelier
one label and three of -100: loss 3.85, of the one 10.60
SEEN
