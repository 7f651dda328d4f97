"""The glasses' server with recognisers that are dead, or hang, while a file exists.

python -m ayllu.device.simulated.mortal PORT FILE HOME
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from ayllu.data.archive import default_cache
from ayllu.device.app import MESSAGE_BYTES, create_glasses_app
from ayllu.device.audio.pcm import Samples
from ayllu.device.parts import Recogniser, load_parts
from ayllu.device.privacy.ledger import Ledger
from ayllu.serve.network.listen import listen
from ayllu.serve.served import Models
from ayllu.serve.stoppable import StoppableServer, server_config

HANG = "hang"


@dataclass
class Mortal:
    """A recogniser that fails while `dead` exists; where the file says `hang` it comes back when the file is gone."""

    inner: Recogniser
    dead: Path
    name: str

    def transcribe(self, audio: Samples) -> str:
        try:
            hangs = self.dead.read_text() == HANG
        except FileNotFoundError:
            return self.inner.transcribe(audio)
        while hangs and self.dead.exists():
            time.sleep(0.1)
        raise RuntimeError("the recogniser was killed")


def main(port: int, dead: Path, home: Path) -> None:
    """Serve until a signal."""
    parts = load_parts(default_cache())
    final = None if parts.final is None else Mortal(parts.final, dead, parts.final.name)
    parts = replace(parts, recogniser=Mortal(parts.recogniser, dead, parts.recogniser.name), final=final)
    config = server_config(create_glasses_app(parts, Models(), ledger=Ledger(home)), drain_seconds=0.5)
    config.ws_max_size = MESSAGE_BYTES
    listener = listen("127.0.0.1", port)
    StoppableServer(config, ready=lambda: None).run(sockets=[listener])


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
