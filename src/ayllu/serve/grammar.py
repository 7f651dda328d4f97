"""What an answer must match: JSON schemas, regular expressions and choices as grammars, and their masks of ids.

Grammars are text in llguidance's form of Lark (`docs/syntax.md` and `docs/json_schema.md` there). Whatever it would not
enforce is refused here with the keyword's name, so that a grammar never allows more than was asked for.
"""

from __future__ import annotations

import functools
import json
import re
import weakref
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from llguidance import LLMatcher, LLTokenizer, regex_to_lark
from numpy.typing import NDArray

from ayllu.serve.turn.schemas import circular, enforceable
from ayllu.text.tokenizer import Tokenizer

WHITESPACE = r" |\n[ \t]{0,40}"
"""Between the parts of JSON at most: what `json.dumps` writes, with an indent or without. Without a bound a small model
may go on with it until its room is full."""
ESCAPES = '"\\nrtbf'
r"""Letters behind a backslash in strings of JSON. Without `u`: an open object could spell a declared name as \u0061."""
OPTIONS: dict[str, Any] = {
    "lenient": False,
    "coerce_one_of": False,
    "json_allowed_escapes": ESCAPES,
    "json_allow_general_unicode_escapes": False,
}
OPEN = OPTIONS | {"whitespace_flexible": True, "whitespace_pattern": WHITESPACE}
NEWER = json.dumps({name: OPTIONS[name] for name in OPTIONS if name.startswith("json_")})[1:-1] + ", "
"""What an older llguidance does not know, as it stands in grammars."""
AS_WRITTEN = OPTIONS | {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""JSON with the spaces of `json.dumps`, as the calls of `ayllu.text.tool_calls` have them."""
OWN = "x-guidance"
"""The keyword by which a schema would change llguidance's options."""
MOST_CHARACTERS = 1 << 18
"""Characters of a schema or an expression."""
MOST_OF_GRAMMAR, MOST_LINES = 1 << 14, 1000
"""Characters and lines of a client's own grammar: llguidance recurses into its rules."""


def compile_json_schema(schema: Any) -> str:
    """The grammar of all JSON that `schema` allows, properties in their declared order; ValueError as `json_part`."""
    return f"start: %json {json_part(schema)}\n"


def compile_json_object() -> str:
    """The grammar of any JSON object."""
    return compile_json_schema({"type": "object"})


def compile_regex(pattern: str) -> str:
    """The grammar of what `pattern` matches as a whole; ValueError where it is none, or looks around or back."""
    if not 0 < len(pattern) <= MOST_CHARACTERS:
        raise ValueError(f"the regular expression has {len(pattern):,} characters; give 1 to {MOST_CHARACTERS:,}")
    return validated(f"start: /{regex_to_lark(pattern, use_ascii='')}/\n")


def compile_choice(choices: Sequence[str]) -> str:
    """The grammar of exactly one of `choices`; ValueError where there are none."""
    if not choices or not all(choices):
        raise ValueError("the choices are empty; give at least one text, each with at least one character")
    if sum(map(len, choices)) > MOST_CHARACTERS:
        raise ValueError(f"the choices have more than {MOST_CHARACTERS:,} characters together; give fewer")
    return validated("start: " + " | ".join(json.dumps(text, ensure_ascii=False) for text in choices) + "\n")


def compile_lark(text: str) -> str:
    """A client's own grammar; ValueError where it is too long or is none."""
    if len(text) > MOST_OF_GRAMMAR or text.count("\n") >= MOST_LINES:
        raise ValueError(
            f"the grammar has {len(text):,} characters in {text.count(chr(10)) + 1:,} lines; give at most "
            f"{MOST_OF_GRAMMAR:,} in {MOST_LINES:,}"
        )
    try:
        return validated(text)
    except ValueError as error:
        raise ValueError(f"this cannot be enforced: {error}") from None


def json_part(schema: Any, *, as_written: bool = False) -> str:
    """What stands behind `%json` in a grammar: JSON that `schema` allows, with the options that keep it to that.

    `as_written` has it in one line with the spaces of `json.dumps`, as Llama's calls are written. Raises ValueError for
    what is no JSON Schema, for what nothing fulfils, and with its name a keyword that cannot be enforced.
    """
    checked = _schema(schema)
    text = json.dumps({**enforceable(checked), OWN: AS_WRITTEN if as_written else OPEN}, ensure_ascii=False)
    try:
        validated(f"start: %json {text}\n")
    except ValueError as error:
        if "circular references" in str(error) and (reason := circular(checked)):
            raise ValueError(reason) from None
        raise
    return text


def validated(grammar: str) -> str:
    """The grammar, if llguidance takes it, or ValueError with its reason."""
    error = LLMatcher.validate_grammar(grammar)
    if error:
        raise ValueError(_shown(error))
    return grammar


class Matcher:
    """Where an answer stands in its grammar: which ids may come next, and the step behind one of them."""

    def __init__(self, grammar: str, tokenizer: Tokenizer, vocabulary: int) -> None:
        """`vocabulary` is the model's, which may have more ids. Raises ValueError on a bad grammar."""
        self._vocabulary, self._stops = vocabulary, sorted(tokenizer.stops)
        self._matcher = LLMatcher(_table(tokenizer), grammar, log_level=0)
        self._raise_error()

    @property
    def ended(self) -> bool:
        """Whether nothing can follow but the end."""
        return self._matcher.is_stopped()

    def allowed(self) -> NDArray[np.bool_]:
        """Which ids may come next, (V): stops only where the grammar may end. ValueError where it is too complex."""
        allowed_V = np.zeros(self._vocabulary, dtype=np.bool_)
        if not self.ended:
            bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
            self._raise_error()
            count = min(len(bits), self._vocabulary)
            allowed_V[:count] = bits[:count]
        allowed_V[self._stops] = self._matcher.is_accepting()
        return allowed_V

    def advance(self, token: int) -> None:
        """Go on behind `token`, which was allowed; behind a stop there is nothing."""
        if token not in self._stops:
            self._matcher.consume_token(token)
            self._raise_error()

    def _raise_error(self) -> None:
        if self._matcher.is_error():
            raise ValueError(f"the grammar cannot be followed: {_shown(self._matcher.get_error())}")


def _schema(schema: Any) -> dict[str, Any]:
    """The schema, if JSON Schema's own schema takes it, or ValueError."""
    schema = {} if schema is True else schema
    if not isinstance(schema, dict):
        raise ValueError('the schema is no object; give a JSON Schema such as {"type": "object"}')
    if OWN in schema:
        raise ValueError(f"the keyword {OWN} is for this server alone; leave it out")
    from jsonschema.exceptions import SchemaError  # which takes longer to import than all else that an engine needs
    from jsonschema.validators import Draft202012Validator, validator_for

    try:
        size = len(json.dumps(schema, allow_nan=False))
        if size > MOST_CHARACTERS:
            raise ValueError(f"the schema has {size:,} characters; give at most {MOST_CHARACTERS:,}")
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        place = "/".join(map(str, error.absolute_path)) or "its root"
        raise ValueError(f"this is no JSON Schema, at {place[:200]}: {_shown(error.message)}") from None
    except RecursionError:
        raise ValueError("the schema has too many levels; give one with fewer") from None
    except TypeError as error:
        raise ValueError(f"the schema is no JSON: {error}") from None
    return schema


PLAINER = (
    (r"^at \d+\(\d+\): ", ""),
    (r"^failed to compile JSON schema: ", ""),
    (r"^invalid regex \".*?\" \(in regex\): ", ""),
    (r"^regex parse error: .*? error: ", "the regular expression: "),
    (r"Unimplemented keys: \[(.*?)\]", r"\1 cannot be enforced"),
    (r"^Unknown format: (\S+)", r"the format \1 cannot be enforced"),
    (
        r"^oneOf constraints are not supported.*",
        "oneOf cannot be enforced where two of its schemas allow the same text; use anyOf",
    ),
    (r"^Unsatisfiable schema: ", "nothing fulfils this: "),
    (r"^Resource '(.*?)' is not present.*", r"\1 is elsewhere, and nothing is fetched; put it below $defs"),
)
"""Expressions in what llguidance says, and what is said in place of them."""


def _shown(message: str) -> str:
    """A library's words in one line, and no pages of them."""
    # Behind that it shows the grammar, or where it stands within it.
    line = " ".join(re.split(r"\n\s*\d+ \| |;? consider making|\s*<state>", message)[0].split())
    for found, plain in PLAINER:
        line = re.sub(found, plain, line)
    return line if len(line) <= 300 else f"{line[:300]}…"


class Follower:
    """Whether a text, as it comes, keeps to a grammar: for an engine that has a matcher of its own."""

    def __init__(self, grammar: str) -> None:
        """Raises ValueError on a bad grammar."""
        self._matcher = LLMatcher(_byte_table(), grammar, log_level=0)
        if self._matcher.is_error():
            raise ValueError(f"the grammar cannot be followed: {_shown(self._matcher.get_error())}")

    @property
    def complete(self) -> bool:
        """Whether the text may end here."""
        return self._matcher.is_accepting()

    def push(self, text: str) -> bool:
        """Whether `text` may follow."""
        given = list(text.encode())
        return self._matcher.try_consume_tokens(given) == len(given)


class _Bytes:
    """A vocabulary of all bytes and an end, in the words of llguidance."""

    is_tokenizer_wrapper = True
    eos_token_id, bos_token_id = 256, None
    tokens: ClassVar = [*(bytes([value]) for value in range(256)), b"<end>"]
    special_token_ids: ClassVar = [256]

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


@functools.cache
def _byte_table() -> LLTokenizer:
    return LLTokenizer(_Bytes())  # type: ignore[arg-type]  # it asks for a class of its own where this suffices


_tables: weakref.WeakKeyDictionary[Tokenizer, LLTokenizer] = weakref.WeakKeyDictionary()


def _table(tokenizer: Tokenizer) -> LLTokenizer:
    """A tokenizer as llguidance reads it: some tenths of a second for a hundred thousand entries, once."""
    found = _tables.get(tokenizer)
    if found is None:
        text = tokenizer.engine().to_str()
        found = LLTokenizer(text, n_vocab=tokenizer.size, eos_token=sorted(tokenizer.stops))
        _tables[tokenizer] = found
    return found
