"""The socket that a server listens on, and what it is reached as."""

from __future__ import annotations

import errno
import ipaddress
import socket

from ayllu.lab.error import UserError

BACKLOG = 2048
"""Connections that wait to be taken: many come at once when a page of many users loads."""


def checked_host(name: str) -> str:
    """A name of this server as clients send it; UserError for what is none, such as an address with a path."""
    name = name.strip().rstrip(".")
    if not name or any(sign in name for sign in "/:@*?# "):
        raise UserError(f"--allow-host {name!r} is not a name; give one alone, such as host.docker.internal")
    try:
        return name.encode("idna").decode("ascii")  # as clients send names with letters beyond ASCII
    except UnicodeError:
        return name


def checked_proxy(name: str) -> str:
    """The address or network of a proxy; UserError for what is neither."""
    try:
        return str(ipaddress.ip_network(name, strict=False)) if "/" in name else str(ipaddress.ip_address(name))
    except ValueError:
        raise UserError(f"--proxy {name[:100]!r} is no address; give one such as 10.0.0.2, or a network") from None


def checked_base_path(path: str) -> str:
    """The path that a server is reached at, without a slash at its end; UserError for what is none."""
    path = path.rstrip("/")
    if path and (not path.startswith("/") or any(sign in path for sign in "?#% \\") or "//" in path):
        raise UserError(f"--base-path {path[:100]!r} is no path; give one such as /ayllu")
    return path


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; UserError in one sentence when it cannot be had."""
    if not 0 <= port <= 65_535:
        raise UserError(f"there is no port {port}; give one from 1 to 65535, or 0 for any free one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UserError(f"the host {host!r} is unknown; give an address of this machine, such as 127.0.0.1") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UserError(_cannot_listen(host, port, error)) from error
    return listener


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    address = ipaddress.ip_address(listener.getsockname()[0].partition("%")[0])
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def url(host: str, port: int, *, scheme: str = "http", base_path: str = "") -> str:
    """What to type into a browser."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"{scheme}://{f'[{shown}]' if ':' in shown else shown}:{port}{base_path}"


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; stop what uses it, or give another with --port"
    if error.errno == errno.EACCES:
        return f"port {port} needs rights that you do not have; give one above 1023 with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine; give 127.0.0.1, or 0.0.0.0 for all of its addresses"
    return f"port {port} on {host} cannot be used ({error.strerror}); give another with --port"
