"""Shapes: the published models have their published sizes, and impossible shapes are refused."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ayllu.model.config import ModelConfig, RopeScaling, llama_feed_forward
from ayllu.model.frequencies import inverse_frequencies
from ayllu.model.presets import PRESETS
from ayllu.model.transformer import Transformer

PUBLISHED = {
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_their_published_parameter_counts(name: str) -> None:
    with torch.device("meta"):
        model = Transformer(PRESETS[name])
    built = sum(weight.numel() for weight in {id(w): w for w in model.parameters()}.values())
    assert built == PRESETS[name].parameters == PUBLISHED[name]


def test_published_feed_forward_widths_follow_metas_rule() -> None:
    assert llama_feed_forward(4096, multiple_of=1024, multiplier=1.3) == PRESETS["llama-3.1-8b"].feed_forward
    assert llama_feed_forward(8192, multiple_of=4096, multiplier=1.3) == PRESETS["llama-3.1-70b"].feed_forward
    assert llama_feed_forward(16384, multiple_of=4096, multiplier=1.2) == PRESETS["llama-3.1-405b"].feed_forward


def test_matrix_parameters_leave_out_norms_and_the_lookup() -> None:
    config = ModelConfig(vocabulary=100, layers=2, width=16, heads=4, kv_heads=2, feed_forward=40)
    by_hand = 2 * (16 * 16 * 2 + 2 * 16 * 8 + 3 * 16 * 40) + 100 * 16
    assert config.matrix_parameters == by_hand


@pytest.mark.parametrize("scaling", [None, RopeScaling(), RopeScaling(factor=32.0)])
def test_frequencies_are_those_of_transformers(scaling: RopeScaling | None) -> None:
    config = ModelConfig(
        vocabulary=9, layers=1, width=512, heads=4, kv_heads=4, feed_forward=8, context=131_072, rope_scaling=scaling
    )
    rope = {"rope_type": "default", "rope_theta": config.rope_theta}
    if scaling:
        rope |= {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_frequency_factor,
            "high_freq_factor": scaling.high_frequency_factor,
            "original_max_position_embeddings": scaling.original_context,
        }
    other = LlamaConfig(
        vocab_size=9,
        hidden_size=512,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=8,
        max_position_embeddings=131_072,
        rope_parameters=rope,
    )
    theirs = LlamaForCausalLM(other).model.rotary_emb.inv_freq
    torch.testing.assert_close(torch.tensor(inverse_frequencies(config)), theirs, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layers": 0}, "layers is 0"),
        ({"kv_heads": 3}, "multiple of kv_heads"),
        ({"width": 30}, "multiple of heads"),
        ({"width": 12}, "even"),
    ],
)
def test_impossible_shapes_are_refused(change: dict[str, int], said: str) -> None:
    shape = {"vocabulary": 100, "layers": 2, "width": 16, "heads": 4, "kv_heads": 2, "feed_forward": 40}
    with pytest.raises(ValueError, match=said):
        ModelConfig(**(shape | change))  # type: ignore[arg-type]
