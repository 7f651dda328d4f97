"""`ayllu serve`."""

from __future__ import annotations

from ayllu.api import find_home
from ayllu.cli.options import Home


def serve(
    model: str = "cria",
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    open_browser: bool = False,
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
    """
    from ayllu.lab.channel import find_model
    from ayllu.serve.server import serve_model

    serve_model(find_model(model, find_home(home)), host=host, port=port, open_browser=open_browser)
