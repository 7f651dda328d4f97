"""The assistant's eyes: a tool that looks at a picture file, or at the newest one of a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ayllu.assistant.tools.tool import Citation, RunnableTool, ToolError, ToolResult, tool_of
from ayllu.device.see.answer import CANNOT, Grounded, answer, summary
from ayllu.device.see.eyes import Eyes
from ayllu.device.see.picture import MOST_BYTES, NoPicture
from ayllu.device.see.scene import Scene, Seen
from ayllu.device.see.taught import Taught, about_shapes
from ayllu.lab.error import UserError

ENDINGS = (".gif", ".jpeg", ".jpg", ".png", ".webp")
SHAPES = ("How many circles are there?", "What shape is the red thing?", "Which is larger, the star or the square?")
"""Requests to look where the model knows shapes."""


def read_picture(path: Path) -> bytes:
    """The bytes of a picture. Raises UserError where there is none, or one that is too large."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path} has more than {MOST_BYTES >> 20} MiB: make the picture smaller")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"the picture {path} cannot be read ({error.strerror or error})") from error


def newest(place: Path) -> Path:
    """A picture file, or the newest one of a folder. Raises UserError where there is none."""
    if not place.is_dir():
        return place
    found = [path for path in place.iterdir() if path.suffix.lower() in ENDINGS and path.is_file()]
    if not found:
        raise UserError(f"there is no picture in {place} ({', '.join(ENDINGS)})")
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.name))


def look_at(eyes: Eyes, path: Path, taught: Taught | None, question: str | None) -> Scene:
    """What is seen in a picture file; where the question is about shapes, `taught` takes the picture too.

    Raises UserError where it is no picture.
    """
    try:
        scene, pixels_HW3 = eyes.view(read_picture(path))
    except NoPicture as error:
        raise UserError(f"{path}: {error}") from None
    if taught is None or question is None or not about_shapes(question):
        return scene
    return taught.view(scene, pixels_HW3)


def look_tool(place: Path, eyes: Callable[[], Eyes], taught: Taught | None = None) -> RunnableTool:
    """The tool `look`; `eyes` gives them when it is first called, and `taught` is the assistant's model if that sees.

    What stands in a picture counts as text of others.
    """

    def look(question: str) -> ToolResult:
        """Look through the camera: read signs and labels, colours, light.

        Parameters
        ----------
        question
            What the user wants to know about what the camera shows.
        """
        try:
            path = newest(place.expanduser())
            scene = look_at(eyes(), path, taught, question)
            found = answered(scene, question)
        except UserError as error:
            raise ToolError(str(error)) from None
        guesses = [one for one in found.rests_on if one.kind == "guess"]
        told = replace(scene, seen=[*scene.seen, *guesses]).told()
        return ToolResult(text=told, say=found.text, citations=_citations(path, found.rests_on))

    examples = [
        ("What does the sign say?", {"question": "What does the sign say?"}),
        ("Look and tell me what you see", {"question": "Look and tell me what you see"}),
        ("What colour is it?", {"question": "What colour is it?"}),
        *([(asked, {"question": asked}) for asked in SHAPES] if taught is not None else []),
    ]
    return tool_of(look, effect=False, untrusted=True, examples=examples, source="built in")


def _citations(path: Path, rests_on: Sequence[Seen]) -> list[Citation]:
    """What an answer rests on: box in parts of the picture, and how sure it is."""
    cited = []
    for one in rests_on:
        box = ", ".join(f"{side:.2f}" for side in one.box)
        place = f"{one.place} ({box}), {one.confidence:.0%}"
        kind = one.source if one.kind == "guess" else one.kind
        cited.append(Citation(source=path.name, place=place, passage=f"{kind}: {one.what}"))
    return cited


def answered(scene: Scene, question: str | None) -> Grounded:
    """The answer to a question, of statements or as a guess of the model; everything where none is asked."""
    if question is None:
        return summary(scene)
    found = answer(scene, question)
    if scene.glimpse is not None and scene.glimpse.is_asked(found, question):
        found = scene.glimpse.guess(question) or found
    return found or Grounded(text=CANNOT)
