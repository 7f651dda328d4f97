"""Before minutes of installing and training: `python ready.py BUDGET SERVE PORT` ends with 2 where they end badly."""

import socket
import sys


def problem(budget: str, serve: str, port: str) -> str | None:
    """What is wrong with the settings of `make run`, in one sentence."""
    try:
        minutes = float(budget)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < 1e6:
        return f"BUDGET is {budget!r}; give the minutes of training, as in make run BUDGET=10"
    if serve == "0":
        return None
    if not (port.isdecimal() and 0 < int(port) < 65536):
        return f"PORT is {port!r}; give a number, as in make run PORT=8080"
    with socket.socket() as probe:
        # As the server takes it: a port whose last connections are still dying is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(port)))
        except OSError as error:
            return f"port {port} cannot be had ({error.strerror}); give another, as in make run PORT=8081, or SERVE=0"
    return None


if __name__ == "__main__":
    if found := problem(*sys.argv[1:]):
        sys.stderr.write(f"{found}\n")
        sys.exit(2)
