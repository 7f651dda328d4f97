"""A card as a page: the little of Markdown that cards use, as HTML without a script."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;display:block;overflow-x:auto;margin:.8rem 0}"
    "td,th{border:1px solid #bbb;padding:.2rem .6rem}"
    "pre,code{background:#f3f3f3}pre{padding:.8rem;overflow-x:auto}img{max-width:100%}"
)
_INLINE = (
    (re.compile(r"!\[([^]]*)\]\(((?![/.])[\w./ -]+)\)"), r'<img alt="\1" src="\2">'),
    (re.compile(r"\[([^]]+)\]\(((?![/.])[\w./ -]+)\)"), r'<a href="\2">\1</a>'),
    (re.compile(r"\*\*(.+?)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"`([^`]+)`"), r"<code>\1</code>"),
)
"""Links lead into the release only: an address of elsewhere stays text."""


def page(title: str, markdown: str) -> str:
    """A whole HTML document; nothing of `markdown` is taken for HTML."""
    body = "\n".join(_blocks(re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.DOTALL)))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _inline(text: str) -> str:
    text = html.escape(text)
    for form, made in _INLINE:
        text = form.sub(made, text)
    return text


def _blocks(markdown: str) -> Iterator[str]:
    parts = re.split(r"^```\w*\n(.*?)^```$", markdown, flags=re.DOTALL | re.MULTILINE)
    for number, part in enumerate(parts):
        if number % 2:
            yield f"<pre>{html.escape(part)}</pre>"
            continue
        for block in filter(None, (one.strip("\n") for one in re.split(r"\n\s*\n", part))):
            yield _block(block.split("\n"))


def _block(lines: list[str]) -> str:
    if heading := re.fullmatch(r"(#{1,4}) (.*)", lines[0]):
        rest = f"\n{_block(lines[1:])}" if lines[1:] else ""
        return f"<h{len(heading[1])}>{_inline(heading[2])}</h{len(heading[1])}>{rest}"
    if all(line.startswith("|") for line in lines):
        rows = [[_inline(cell.strip()) for cell in line.strip("|").split("|")] for line in lines if "| ---" not in line]
        tagged = [("td" if n else "th", row) for n, row in enumerate(rows) if n or any(row)]  # names need no heads
        cells = ["".join(f"<{tag}>{cell}</{tag}>" for cell in row) for tag, row in tagged]
        return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"
    if all(line.lstrip().startswith("- ") for line in lines):
        return f"<ul>{''.join(f'<li>{_inline(line.lstrip()[2:])}</li>' for line in lines)}</ul>"
    return f"<p>{_inline(' '.join(lines))}</p>"
