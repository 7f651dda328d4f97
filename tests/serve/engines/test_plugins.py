"""Engines of other packages, in processes of their own: what they refuse is refused in their words."""

from __future__ import annotations

import contextlib
from pathlib import Path

import openai
import pytest

from ayllu.serve.engines.process.supervised import start_engine
from support.serving.server import serving

MODULE = '''
from ayllu.serve.engines.engine import TextChunk
from ayllu.serve.engines.torch_engine import TorchEngine


class Wary(TorchEngine):
    """Torch's, which refuses something more than what that says of itself."""

    def check(self, request):
        super().check(request)
        if request.max_tokens > 5:
            raise ValueError("the engine wary says at most five words")


class Plain:
    """No more than the protocol asks for, and a name of its own use."""

    parallel = 1
    accepts = "everything"

    def __init__(self, folder):
        torch = TorchEngine(folder)
        self.tokenizer, self.context, self.parameters = torch.tokenizer, torch.context, torch.parameters

    def check(self, request):
        if request.max_tokens > 5:
            raise ValueError("the engine plain says at most five words")

    def generate(self, request, cancelled):
        for word in "one two three".split():
            yield TextChunk(text=word + " ", tokens=1)
        yield TextChunk(text="", finish_reason="stop")

    def close(self):
        pass
'''


@pytest.mark.parametrize("name", ["wary", "plain"])
def test_an_engine_that_refuses_more_than_it_says_of_itself_is_asked(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs.py").write_text(MODULE)
    (information := tmp_path / "theirs-1.0.dist-info").mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[ayllu.engines]\nwary = theirs:Wary\nplain = theirs:Plain\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    with contextlib.closing(start_engine(folder, name)) as engine, serving(folder, engine) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        with pytest.raises(openai.BadRequestError, match=f"the engine {name} says at most five words"):
            client.completions.create(model="tiny", prompt="hello", max_tokens=6)
        told = client.completions.create(model="tiny", prompt="hello", max_tokens=3, temperature=0)
        assert told.choices[0].text
        assert told.usage is not None and told.usage.completion_tokens == 3
