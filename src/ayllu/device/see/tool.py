"""The assistant's eyes: a tool that looks at a picture file, or at the newest one of a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ayllu.assistant.tools.tool import Citation, RunnableTool, ToolError, ToolResult, tool_of
from ayllu.device.see.answer import CANNOT, Grounded, answer, summary
from ayllu.device.see.eyes import Eyes
from ayllu.device.see.picture import MOST_BYTES, NoPicture, Pixels
from ayllu.device.see.scene import Scene
from ayllu.lab.error import UserError

ENDINGS = (".gif", ".jpeg", ".jpg", ".png", ".webp")


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


def look_at(eyes: Eyes, path: Path) -> Scene:
    """What is seen in a picture file. Raises UserError where it is none."""
    return view(eyes, path)[0]


def view(eyes: Eyes, path: Path) -> tuple[Scene, Pixels]:
    """The same, and the pixels (H, W, 3) with their faces blurred."""
    try:
        return eyes.view(read_picture(path))
    except NoPicture as error:
        raise UserError(f"{path}: {error}") from None


def look_tool(place: Path, eyes: Callable[[], Eyes]) -> RunnableTool:
    """The tool `look`; `eyes` gives them when it is first called. What stands in a picture counts as text of others."""

    def look(question: str) -> ToolResult:
        """Look through the camera: read signs and labels, colours, light.

        Parameters
        ----------
        question
            What the user wants to know about what the camera shows.
        """
        try:
            path = newest(place.expanduser())
            scene = look_at(eyes(), path)
        except UserError as error:
            raise ToolError(str(error)) from None
        found = answered(scene, question)
        return ToolResult(text=scene.told(), say=found.text, citations=_citations(path, found))

    examples = [
        ("What does the sign say?", {"question": "What does the sign say?"}),
        ("Look and tell me what you see", {"question": "Look and tell me what you see"}),
        ("What colour is it?", {"question": "What colour is it?"}),
    ]
    return tool_of(look, effect=False, untrusted=True, examples=examples, source="built in")


def _citations(path: Path, found: Grounded) -> list[Citation]:
    """What an answer rests on: box in parts of the picture, and how sure it is."""
    cited = []
    for one in found.rests_on:
        box = ", ".join(f"{side:.2f}" for side in one.box)
        place = f"{one.place} ({box}), {one.confidence:.0%}"
        cited.append(Citation(source=path.name, place=place, passage=f"{one.kind}: {one.what}"))
    return cited


def answered(scene: Scene, question: str | None) -> Grounded:
    """The answer to a question, or everything where none is asked."""
    return summary(scene) if question is None else answer(scene, question) or Grounded(text=CANNOT)
