"""`ayllu serve`."""

from __future__ import annotations

from pathlib import Path

from ayllu.api import find_home
from ayllu.cli.options import Home


def serve(
    model: str = "cria",
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    open_browser: bool = False,
    allow_host: list[str] | None = None,
    engine: str = "auto",
    bits: int | None = None,
    home: Home = None,
) -> None:
    """Serve a model: a chat page, and an API that OpenAI's clients speak.

    Parameters
    ----------
    model
        A release folder, or the name that a recipe gave it.
    host
        Address to listen on; other machines can reach it when it is not a loopback address.
    port
        Port to listen on.
    open_browser
        Open the page.
    allow_host
        Another name that this server is reached by, such as host.docker.internal; can be given several times.
        IP addresses, localhost and the name given as host need none.
    engine
        What computes the answers: auto, native (our C code for processors), llama.cpp or torch.
    bits
        Bits of a weight in the engine native: 4, 8 or 16; 8 unless given.
    """
    from ayllu.lab.channel import find_model
    from ayllu.serve.server import serve_model

    folder = find_model(model, find_home(home))
    names = () if folder == Path(model).expanduser() else (model,)
    serve_model(
        folder,
        host=host,
        port=port,
        open_browser=open_browser,
        aliases=names,
        hosts=tuple(allow_host or ()),
        engine=engine,
        bits=bits,
    )
