"""The program that renders chat templates: a process of its own, so that no template can take the time or the memory
of the one that asks.

Requests come as lines of JSON on stdin, answers go as lines of JSON to stdout; it ends when stdin does. It is started
by its path (`ayllu.text.template`) and imports nothing of Ayllu. Source of the environment: `_compile_jinja_template`
in transformers.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any


def main(memory: int) -> None:
    """Answer until no more is asked, with `memory` bytes of addresses at most, where the system can limit them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    except (ImportError, ValueError, OSError):
        pass  # Windows has no such limit, and macOS does not keep it: there the time alone is bounded.
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """`{"text": …}` or `{"names": […]}`, or `{"error": one clause}`."""
    from jinja2 import TemplateError
    from jinja2.sandbox import SecurityError

    try:
        if request["do"] == "names":
            return {"names": names(request["template"])}
        return {"text": render(request)}
    except SecurityError as error:
        return {"error": f"tries what its sandbox forbids ({clause(error)})"}
    except TemplateError as error:
        return {"error": f"refuses this ({clause(error)})"}
    except MemoryError:
        return {"error": "needs more memory than it may have"}
    except RecursionError:
        return {"error": "cannot be rendered (it is nested too deeply)"}
    except Exception as error:
        # A template is a program of others: whatever it ends with is told, and nothing of it stops this process.
        return {"error": f"cannot be rendered ({clause(error)})"}


def clause(error: Exception) -> str:
    """What an error says, in one line of 300 printable characters at most: part of it may come from the template."""
    words = " ".join(str(error)[:2000].split())
    return "".join(character if character.isprintable() else "\ufffd" for character in words)[:300]


def names(template: str) -> list[str]:
    """The variables that a template asks for."""
    from jinja2 import meta

    tree = environment().parse(template)
    return sorted(meta.find_undeclared_variables(tree))


def render(request: Mapping[str, Any]) -> str:
    """The text, with `marks` around what stands in `{% generation %}`. TemplateError when it is longer than allowed."""
    from jinja2 import TemplateError

    variables = dict(request["variables"])
    now = datetime.fromisoformat(request["now"])
    template = compiled(request["template"], *request["marks"])
    parts: list[str] = []
    length = 0
    for part in template.generate(variables, strftime_now=now.strftime):
        parts.append(part)
        length += len(part)
        if length > request["longest"]:
            raise TemplateError(f"it writes more than {request['longest']:,} characters")
    return "".join(parts)


@lru_cache(maxsize=8)
def compiled(template: str, opening: str, closing: str) -> Any:
    return environment(opening, closing).from_string(template)


def environment(opening: str = "", closing: str = "") -> Any:
    """transformers' sandbox; `opening` and `closing` go around what stands in `{% generation %}`."""
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment, SecurityError
    from jinja2.utils import Namespace

    class Generation(Extension):
        """`{% generation %}`, by which some templates mark what the assistant produces."""

        tags = {"generation"}  # noqa: RUF012 (as Jinja declares it)

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("mark"), [], [], body).set_lineno(line)

        def mark(self, caller: Any) -> str:
            return opening + str(caller()) + closing

    class SafeNamespace(Namespace):
        """A namespace whose names do not begin with an underscore."""

        def __init__(*args: Any, **given: Any) -> None:
            attributes = dict(*args[1:], **given)
            for name in attributes:
                refuse_private(name)
            Namespace.__init__(args[0], attributes)

        def __setitem__(self, name: str, value: Any) -> None:
            refuse_private(name)
            super().__setitem__(name, value)

    def refuse_private(name: Any) -> None:
        if str(name).startswith("_"):
            raise SecurityError(f"the name {name!r} begins with an underscore")

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
        # Jinja's own filter writes for HTML.
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)

    found = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    found.filters["tojson"] = to_json
    found.globals.update(raise_exception=refuse, namespace=SafeNamespace)
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]))
