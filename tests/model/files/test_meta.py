"""Meta's layout: what is written comes back bit by bit, whole or in parts, in the order that Meta's code needs."""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch

from ayllu.model.config import RopeScaling
from ayllu.model.files import gguf, hf, meta
from ayllu.model.files.weights import to_neighbours
from ayllu.model.frequencies import inverse_frequencies
from ayllu.model.presets import PRESETS
from ayllu.model.rope import rotate, rotation
from support.models import SHAPES, same_bits, tiny_model

SCALED = replace(SHAPES["untied"], rope_scaling=RopeScaling(factor=8.0), context=131_072)
MODELS = {"tied": SHAPES["tied"], "untied": SHAPES["untied"], "scaled": SCALED}


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("shape", MODELS)
def test_what_was_written_comes_back_bit_by_bit(tmp_path, shape, parts):
    model = tiny_model(MODELS[shape])
    meta.write(tmp_path, model, dtype=torch.float32, parts=parts)
    assert len(list(tmp_path.glob("consolidated.*.pth"))) == parts
    assert same_bits(meta.read(tmp_path, context=model.config.context), model)


def test_hugging_face_to_gguf_to_meta_to_hugging_face_keeps_every_bit(weights, tmp_path):
    folder, model = weights("untied")
    gguf.write(tmp_path / "x.gguf", hf.load(folder), folder, dtype="F32", name="x")
    meta.write(tmp_path / "meta", gguf.read(tmp_path / "x.gguf").model, dtype=torch.float32)
    hf.save(tmp_path / "hf", meta.read(tmp_path / "meta", context=model.config.context))
    name = "model.safetensors"
    assert (tmp_path / "hf" / name).read_bytes() == (folder / name).read_bytes()


def test_bfloat16_is_the_default_and_loads_in_float32(tmp_path):
    model = tiny_model(SHAPES["untied"])
    meta.write(tmp_path, model)
    back = meta.read(tmp_path).state_dict()
    assert all(torch.equal(back[name], values.bfloat16().float()) for name, values in model.state_dict().items())


def test_parts_hold_the_slices_that_metas_parallel_layers_hold(tmp_path):
    model = tiny_model(SHAPES["untied"])
    meta.write(tmp_path, model, parts=2)
    part = torch.load(tmp_path / "consolidated.01.pth", weights_only=True)
    shapes = {name: tuple(values.shape) for name, values in part.items()}
    assert shapes["tok_embeddings.weight"] == (300, 64)
    assert shapes["output.weight"] == (300, 64)
    assert shapes["layers.0.attention.wq.weight"] == (32, 64)
    assert shapes["layers.0.attention.wk.weight"] == (16, 64)
    assert shapes["layers.0.attention.wo.weight"] == (64, 32)
    assert shapes["layers.1.feed_forward.w2.weight"] == (64, 80)
    assert shapes["layers.1.ffn_norm.weight"] == (64,)


def test_an_embedding_cut_along_the_width_is_read_too(tmp_path):
    model = tiny_model(SHAPES["untied"])
    meta.write(tmp_path, model, dtype=torch.float32, parts=2)
    for number, half in enumerate(model.embedding.weight.data.chunk(2, 1)):
        file = tmp_path / f"consolidated.{number:02d}.pth"
        torch.save(torch.load(file, weights_only=True) | {"tok_embeddings.weight": half.clone()}, file)
    assert torch.equal(meta.read(tmp_path).embedding.weight, model.embedding.weight)


def test_rows_are_in_the_order_that_metas_rotation_needs():
    """`apply_rotary_emb` in llama3/model.py turns neighbours as complex numbers; scores must be ours."""
    config = SHAPES["untied"]
    generator = torch.Generator().manual_seed(0)
    wq, x_TD = torch.randn(64, 64, generator=generator), torch.randn(9, 64, generator=generator)
    ours = rotate((x_TD @ wq.T).view(9, 4, 16).transpose(0, 1), *rotation(config, torch.arange(9)))
    angles = torch.outer(torch.arange(9.0), torch.tensor(inverse_frequencies(config)))
    pairs = torch.view_as_complex((x_TD @ to_neighbours(wq, 4).T).view(9, 4, 8, 2)).transpose(0, 1)
    theirs = torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(2)
    assert torch.allclose(ours @ ours.mT, theirs @ theirs.mT, atol=1e-4)


@pytest.mark.parametrize("name", PRESETS)
def test_published_shapes_survive_their_parameters(name):
    config = PRESETS[name]
    params = meta.to_params(config)
    del params["rope_scaling_factor"]
    one = torch.zeros(1).expand(config.vocabulary, config.width)
    tensors = {
        "tok_embeddings.weight": one[:, :1],
        "output.weight": one[:, :1] if config.tied else one[:1, :1],
        "layers.0.feed_forward.w1.weight": torch.zeros(1).expand(config.feed_forward, config.width),
    }
    assert meta._config(params, tensors, None, "x") == config


def test_what_the_layout_cannot_say_is_refused(tmp_path):
    for config, sentence in (
        (SHAPES["wide heads"], "heads of width D/H"),
        (replace(SCALED, rope_scaling=RopeScaling(original_context=64)), "settings only"),
    ):
        with pytest.raises(ValueError, match=sentence):
            meta.write(tmp_path / "x", tiny_model(config))
    with pytest.raises(ValueError, match="cannot be cut into 3 parts"):
        meta.write(tmp_path / "x", tiny_model(SHAPES["tied"]), parts=3)
    assert not (tmp_path / "x").exists()


def test_damaged_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"holds no consolidated\.\*\.pth"):
        meta.read(tmp_path)
    meta.write(tmp_path, tiny_model(SHAPES["untied"]), parts=2)
    params = json.loads((tmp_path / "params.json").read_text())
    for damage, sentence in (
        ({"moe_args": {}}, None),
        ({"moe_args": {"n": 8}}, "experts"),
        ({"dim": None}, "lacks 'dim'"),
    ):
        changed = {name: value for name, value in (params | damage).items() if value is not None}
        (tmp_path / "params.json").write_text(json.dumps(changed))
        if sentence:
            with pytest.raises(ValueError, match=sentence):
                meta.read(tmp_path)
    (tmp_path / "params.json").write_text(json.dumps(params))
    whole = (tmp_path / "consolidated.01.pth").read_bytes()
    (tmp_path / "consolidated.01.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"consolidated\.01\.pth cannot be read as weights"):
        meta.read(tmp_path)
    (tmp_path / "consolidated.01.pth").unlink()
    with pytest.raises(ValueError, match="has the shape"):
        meta.read(tmp_path)
    (tmp_path / "params.json").unlink()
    with pytest.raises(ValueError, match=r"params\.json does not exist"):
        meta.read(tmp_path)


def test_code_in_a_pickle_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (type(tmp_path).touch, (tmp_path / "ran",))

    meta.write(tmp_path, tiny_model(SHAPES["untied"]))
    torch.save(OrderedDict(norm=Trap()), tmp_path / "consolidated.00.pth")
    with pytest.raises(ValueError, match=r"consolidated\.00\.pth cannot be read as weights"):
        meta.read(tmp_path)
    (tmp_path / "consolidated.00.pth").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match=r"consolidated\.00\.pth cannot be read as weights"):
        meta.read(tmp_path)
    assert not (tmp_path / "ran").exists()
