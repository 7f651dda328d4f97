"""The eyes: faces away first, then writing, colours and light."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Mapping
from pathlib import Path

from ayllu.data.archive import fetch
from ayllu.device.models import CENTERFACE
from ayllu.device.see.faces import Faces
from ayllu.device.see.picture import Pixels, pixels_of
from ayllu.device.see.scene import Scene, Seen, colours_of, measured
from ayllu.device.see.writing import Writing
from ayllu.lab.error import UserError

MODULES = ("onnx", "onnxruntime", "PIL", "rapidocr")


class Eyes:
    """Looks at one picture at a time; the first loads the models. Raises UserError where a part is missing."""

    names: Mapping[str, str] = {"faces, to be blurred": Faces.name, "writing": Writing.name}

    def __init__(self, cache: Path, *, threads: int = 1) -> None:
        if missing := [name for name in MODULES if importlib.util.find_spec(name) is None]:
            raise UserError(f"looking needs {missing[0]}; run: pip install 'ayllu[glasses]'")
        fetch(CENTERFACE.archive, cache)  # while there may be a network
        self._cache, self._threads = cache, threads
        self._lock = threading.Lock()
        self._models: tuple[Faces, Writing] | None = None

    def look(self, data: bytes) -> Scene:
        """What is seen in a picture (JPEG, PNG, WebP, GIF). Raises NoPicture, and UserError where a model is broken."""
        return self.view(data)[0]

    def view(self, data: bytes) -> tuple[Scene, Pixels]:
        """The same, and the pixels (H, W, 3) with their faces blurred, for others who look."""
        pixels_HW3 = pixels_of(data)
        with self._lock:
            if self._models is None:
                self._models = Faces(self._cache, threads=self._threads), Writing(threads=self._threads)
            faces, writing = self._models
            pixels_HW3, faces_N5 = faces.blurred(pixels_HW3)
            lines = writing.lines(pixels_HW3)
            seen = []
            for line in lines:
                ground, letters = colours_of(pixels_HW3, line.box)
                seen.append(
                    Seen(
                        kind="writing",
                        what=line.text,
                        box=line.box,
                        confidence=line.confidence,
                        source=writing.name,
                        around=ground,
                        letters=letters,
                    )
                )
            return Scene(seen=[*seen, *measured(pixels_HW3)], faces=len(faces_N5)), pixels_HW3
