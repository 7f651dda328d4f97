"""Photographs that lie behind scenes: of scikit-image's wheel, each CC0 or in the public domain, read and never run."""

from __future__ import annotations

from pathlib import Path

from ayllu.data.archive import Archive, fetch, open_member

SCIKIT_IMAGE = Archive(
    registry="pypi",
    name="scikit-image",
    version="0.25.2",
    filename="scikit_image-0.25.2-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    sha256="24cc986e1f4187a12aa319f777b36008764e856e5013666a4a83f8df083c2641",
)
ENDINGS = {"rocket": "jpg", "hubble_deep_field": "jpg"}
SOURCE = {
    "name": "photographs of scikit-image 0.25.2",
    "title": "brick, grass, gravel, camera, chelsea, coffee and rocket; Hubble deep field and moon of NASA",
    "licence": "CC0-1.0",
}


def photo(name: str, cache: Path) -> bytes:
    """The file of a photograph by its name, fetched when it is first asked for. Raises UserError where it cannot be."""
    with open_member(fetch(SCIKIT_IMAGE, cache), f"skimage/data/{name}.{ENDINGS.get(name, 'png')}") as file:
        return file.read()
