"""`ayllu lab`: all of it in a browser."""

from __future__ import annotations

from ayllu.api.home import find_home
from ayllu.cli.options import Flag, Home


def lab(*, port: int = 8070, open_browser: Flag = False, home: Home = None) -> None:
    """Show all that is kept and runs in a browser: curves, comparisons, lineage, forecasts, sweeps, storage.

    It answers this machine only and changes nothing.

    Parameters
    ----------
    port
        Port to listen on; 0 takes a free one.
    open_browser
        Open the page at once.
    """
    from ayllu.serve.lab.app import Looking, serve_lab

    serve_lab(Looking(home=find_home(home), port=port, open_browser=open_browser))
