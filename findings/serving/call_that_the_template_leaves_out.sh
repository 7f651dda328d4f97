#!/usr/bin/env bash
# transformers 5.23: apply_chat_template() takes every key whose value is None out of the messages before it renders. A
# template that knows a call of a tool by `content is none` (or `is not none`), as OpenAI's API sends it and as templates
# of well-known models have it, so takes the other branch: the call and its arguments are not in the prompt, no error, no
# warning, and training masks shift with it. The same template rendered by jinja2 itself (and by servers that render it
# so) has the call: one conversation is two prompts. `if m.tool_calls` is the same in both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check transformers==5.23.0 jinja2==3.1.6
cat > run.py <<'PY'
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, __version__

words = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words)
plain = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
call = "{% for c in m.tool_calls %}<{{ c.function.name }} {{ c.function.arguments.city }}>{% endfor %}"
tests = {
    "content is none": "{% if m.content is none %}" + call + "{% else %}{{ m.content }}{% endif %}",
    "content is not none": "{% if m.content is not none %}{{ m.content }}{% else %}" + call + "{% endif %}",
    "tool_calls": "{% if m.tool_calls %}" + call + "{% else %}{{ m.content }}{% endif %}",
}
made = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Lima"}}}
chat = [
    {"role": "user", "content": "Rain?"},
    {"role": "assistant", "content": None, "tool_calls": [made]},
    {"role": "tool", "content": "dry"},
]
for name, test in tests.items():
    template = "{% for m in messages %}[{{ m.role }}]" + test + "{% endfor %}"
    prompts = {
        f"transformers {__version__}": tokenizer.apply_chat_template(chat, chat_template=template, tokenize=False),
        "jinja2": plain.from_string(template).render(messages=chat),
    }
    for engine, prompt in prompts.items():
        print(f"{engine}, template asks for {name}: {prompt}", flush=True)
PY
env/bin/python run.py 2>errors | tee seen || { tail -5 errors; exit 1; }
diff seen - <<'SEEN'
transformers 5.23.0, template asks for content is none: [user]Rain?[assistant][tool]dry
jinja2, template asks for content is none: [user]Rain?[assistant]<weather Lima>[tool]dry
transformers 5.23.0, template asks for content is not none: [user]Rain?[assistant][tool]dry
jinja2, template asks for content is not none: [user]Rain?[assistant]<weather Lima>[tool]dry
transformers 5.23.0, template asks for tool_calls: [user]Rain?[assistant]<weather Lima>[tool]dry
jinja2, template asks for tool_calls: [user]Rain?[assistant]<weather Lima>[tool]dry
SEEN
