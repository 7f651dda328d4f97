"""A public summary of the training content after the template of the EU's AI Office (Article 53(1)(d) of the AI Act).

The sections are the template's of July 2025: general information, list of data sources, processing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ayllu.release.gates import RECORDS, SOURCES
from ayllu.release.reference import Pages, detach

TOKEN_BANDS = ((10**9, "less than a billion tokens"), (10**13, "from a billion to ten trillion tokens"))
LARGEST = "more than ten trillion tokens"
BYTES_PER_TOKEN = 4
"""Of English text, where only bytes were counted: enough to choose among bands a thousand times apart."""


def training_summary(manifest: Mapping[str, Any], records: Mapping[str, Any]) -> str:
    """The page, in Markdown."""
    pages = Pages(records)
    name = pages.show(RECORDS, "release", "name")
    lines = [
        f"# Public summary of the training content of {name}\n",
        "After the template of the European Commission for Article 53(1)(d) of Regulation (EU) 2024/1689.\n",
        "## General information\n",
        f"- Provider: whoever holds the key that signed this release ({name}'s `release-key.pub`)",
        f"- Model: {name}, version {pages.show(RECORDS, 'release', 'version')}",
        f"- Digest of the model: `{manifest['model_digest']}`",
        f"- Date of placing on the market: {pages.show(RECORDS, 'release', 'date')}",
        "- Modality: text. No images, audio or video.",
        f"- Size of the training content: {_band(records[SOURCES])}",
        f"- Size of the model: {pages.show(RECORDS, 'model', 'parameters')} parameters",
        "- Languages: English, as far as the sources below say nothing else",
        "- Latest date of the content: that of the archives below; the model has not been trained on since\n",
        "## List of data sources\n",
        "### Publicly available datasets\n",
        *_sources(pages, pinned=True),
        "### Private datasets, obtained under licence or from third parties\n",
        "None is named by the records.\n",
        "### Content crawled by the provider or on its behalf\n",
        "None is named by the records.\n",
        "### Data of users\n",
        "None is named by the records.\n",
        "### Synthetic data, and other sources\n",
        *_sources(pages, pinned=False),
        "## Data processing\n",
        "- Rights reservations: sources are published data sets; each stands here with its licence, and one whose "
        "licence forbids commercial use or changes stops the release (`LICENSES.md`).",
        "- Illegal content, personal data: what was taken out or masked stands in the record of the corpus, which this "
        "release does not hold; `records.json` names the command and the settings that make it again.\n",
    ]
    plain, _ = detach("\n".join(lines) + "\n")
    return plain


def _band(origins: Mapping[str, Any]) -> str:
    """The template's band of sizes for text."""
    sources = [source for kind in ("corpus", "dialogues") for source in origins.get(kind) or []]
    counted = [source["bytes"] for source in sources if isinstance(source.get("bytes"), int)]
    if len(counted) < len(sources) and not counted:
        return "not counted"
    tokens = sum(counted) / BYTES_PER_TOKEN
    return next((band for most, band in TOKEN_BANDS if tokens < most), LARGEST)


def _sources(pages: Pages, *, pinned: bool) -> Iterator[str]:
    """Those with archives that anyone can fetch, or those without."""
    found = False
    for kind in ("corpus", "dialogues"):
        for i, source in enumerate(pages.get(SOURCES, kind) or []):
            if bool(source.get("archives")) is not pinned:
                continue
            found = True
            title = "title" if source.get("title") else "name"
            size = (
                f"{pages.show(SOURCES, kind, i, 'documents')} documents, {pages.show(SOURCES, kind, i, 'bytes')} bytes"
            )
            yield f"- **{pages.show(SOURCES, kind, i, title)}** ({pages.show(SOURCES, kind, i, 'licence')}): {size}"
            for j in range(len(source.get("archives") or [])):
                shown = [pages.show(SOURCES, kind, i, "archives", j, f) for f in ("registry", "name", "version")]
                yield f"    - {' '.join(shown)}"
    yield "" if found else "None.\n"
