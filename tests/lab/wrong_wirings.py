"""Wirings that mypy must refuse, each on the line that ends with `# refused`; all others it must take."""

from __future__ import annotations

from ayllu.lab.graph import Context, Handle, stage
from ayllu.recipes.cria import cria
from ayllu.recipes.stages.artifacts import Release, Weights
from ayllu.recipes.stages.corpus import corpus, learn_tokenizer, tokenize
from ayllu.recipes.stages.dataset import build_dataset
from ayllu.recipes.stages.evaluate import heldout
from ayllu.recipes.stages.pretrain import plan_pretraining, pretrain
from ayllu.recipes.stages.weights import interpolate_weights

text = corpus(sources=("sotu",), licence=None)
tokenizer = learn_tokenizer(text, size=512)
tokens = tokenize(text, tokenizer, length=64)
plan = plan_pretraining(tokens, budget=1.0, seed=0, speed=None, mix={})
base = pretrain(tokens, tokenizer, plan, seed=0, mix={})
scores = heldout(base, text, tokenizer, documents=3)

pretrain(plan, tokens, tokenizer, seed=0, mix={})  # refused
pretrain(tokens, tokenizer, seed=0, mix={})  # refused
pretrain(tokens, tokenizer, plan, seed=0, mix={}, seeds=1)  # refused
pretrain(tokens, tokenizer, plan, seed="0", mix={})  # refused
tokenize(tokenizer, text, length=64)  # refused
heldout(scores, text, tokenizer, documents=3)  # refused
interpolate_weights(base, scores, kept=0.5)  # refused
build_dataset(text, seed=0, groups=1, chats=None, preferences=None)  # refused
corpus(sources=("sotu",))  # refused
wrong: Handle[Weights] = scores  # refused
right: Handle[Weights] = base
released: Handle[Release] = cria(budget=1.0)
not_weights: Handle[Weights] = cria(budget=1.0)  # refused


@stage(identity="wirings.count", makes=lambda folder: len(list(folder.iterdir())))
def count(ctx: Context, of: Handle[Weights], *, most: int = 3) -> None:
    of.value.exists()
    _ = of.value.vocabulary  # refused


counted: Handle[int] = count(base)
count(base, most=2)
count(text)  # refused
count(base, least=2)  # refused
