"""What is read of a draw without torch says the same as the draw itself."""

from hypothesis import example, given
from hypothesis import strategies as st
from transformers import GenerationConfig

from ayllu.model.draw_settings import HARMLESS, RANGES, unfit
from ayllu.model.sampling import Sampling, recommended_sampling


@given(st.sampled_from(sorted(RANGES)), st.floats() | st.integers())
@example("top_k", 2**31)
@example("top_p", 0.0)
@example("temperature", -0.0)
@example("repetition_penalty", 10**400)
def test_a_value_is_fit_exactly_when_a_draw_takes_it(name: str, value: float) -> None:
    try:
        drawn = Sampling(**{name: value})
    except (ValueError, OverflowError):
        assert list(unfit({name: value})) == [name]
    else:
        if name == "top_k" and value != int(value):
            assert unfit({name: value})
        else:
            assert recommended_sampling({name: value}) == (drawn, [])


def test_every_field_of_the_reference_is_done_told_or_harmless() -> None:
    """No field that transformers knows is dropped without a word, and its own defaults ask for nothing."""
    reference = GenerationConfig()
    assert unfit({name: value for name, value in reference.to_dict().items() if value is not None}) == {}
    known = {name for name in vars(reference) if not name.startswith("_")}
    silent = {name for name in known if not unfit({name: "something"})}
    assert silent <= HARMLESS


def test_what_is_not_done_or_not_known_is_told() -> None:
    told = recommended_sampling({"max_time": 5.0, "cache_implementation": "static", "warmth": 3, "_from_model": True})[
        1
    ]
    assert told == ["max_time is 5.0, which is not done here", '"warmth" is 3, which is not known here']
