"""The glasses' server: the gateway, with ears and a voice."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.data.archive import default_cache
from ayllu.device.adapters.wyoming import Wyoming
from ayllu.device.hear.echo import check_library
from ayllu.device.page_routes import add_page
from ayllu.device.pairing import pairing_key, pairing_link, qr_code, reachable
from ayllu.device.parts import Parts, load_parts
from ayllu.device.privacy.consent import Mode
from ayllu.device.privacy.ledger import Ledger
from ayllu.device.privacy.wearer import Wearer
from ayllu.device.realtime.routes import BrowserKeyMiddleware, Realtime
from ayllu.device.see.taught import Taught, taught_in
from ayllu.device.speech import DeviceSpeech
from ayllu.device.think.assisted import Assistant, assistant
from ayllu.device.think.mind import Echo, Mind
from ayllu.device.think.served import ServedMind
from ayllu.lab.progress import say
from ayllu.lab.store import default_home
from ayllu.serve.network.certificate import fingerprint, self_made
from ayllu.serve.network.listen import checked_host, is_loopback, listen, url
from ayllu.serve.routing.app import App
from ayllu.serve.stoppable import StoppableServer, server_config

if TYPE_CHECKING:
    from ayllu.serve.access.access import Access
    from ayllu.serve.served import Models

MESSAGE_BYTES = 16 << 20
"""Most of one WebSocket message, as in OpenAI's API: 15 MiB of sound in base64 and what is around it."""


@dataclass(frozen=True, kw_only=True)
class Wearing:
    """How the glasses are served."""

    model: str | None = None
    """The name or folder of the model that answers; None for none."""
    host: str = "127.0.0.1"
    port: int = 8090
    hosts: Sequence[str] = ()
    home: Path | None = None
    drain_seconds: float = 2.0
    consent: Mode = "light"
    """By whose leave they listen."""
    wake: str | None = None
    """The phrase without which nothing is answered; None for none."""
    wearer: bool = False
    """Whether other voices than the enrolled one are passed over."""
    translate: tuple[str, str] | None = None
    """From which language to which what is heard and seen is translated."""
    assist: bool = False
    """Whether the model works with the assistant's tools."""
    folders: Sequence[Path] = ()
    """Whose files the assistant may read."""
    approve: Sequence[str] = ()
    """Tools of the assistant that need no approval this time."""
    cancel_echo: bool = False
    """Whether the echo of clients is cancelled that do not say that they do it themselves."""
    wyoming: int | None = None
    """A port for Home Assistant, on this machine only."""


def create_glasses_app(
    parts: Parts,
    models: Models,
    *,
    hosts: Sequence[str] = (),
    access: Access | None = None,
    ledger: Ledger | None = None,
    consent: Mode = "light",
    assistant: Assistant | None = None,
    wake: str | None = None,
    wearer: Wearer | None = None,
    cancel_echo: bool = False,
) -> App:
    """The gateway of `models`, of which the first answers by voice; without any, what was heard is repeated.

    With an `assistant` that model works with its tools; with a `wake` phrase only what follows it is answered, and with
    a `wearer` only that voice. `cancel_echo` is what sessions begin with.
    """
    from ayllu.serve.gateway import create_app

    mind: Mind = ServedMind(models) if models.names else Echo()
    app = create_app(models, hosts=hosts, access=access, speech=DeviceSpeech(parts, ledger=ledger))
    options: dict[str, Any] = {"consent": consent, "assistant": assistant, "wake": wake, "wearer": wearer}
    Realtime(parts, mind, ledger=ledger, cancel_echo=cancel_echo, **options).add_to(app)
    add_page(app)
    app.add_middleware(BrowserKeyMiddleware)  # outermost, before keys are asked for
    return app


def serve_glasses(how: Wearing) -> None:
    """Serve until SIGINT or SIGTERM. Raises UserError where the port, the model, a part or a certificate is missing.

    Where other machines reach the server it is HTTPS with a certificate of its own, for phones open their sensors to
    nothing else, and a QR code pairs one phone at a time.
    """
    home = default_home() if how.home is None else how.home
    if how.cancel_echo:
        check_library()
    listener = listen(how.host, how.port)
    port = listener.getsockname()[1]
    try:
        from ayllu.serve.access.access import Access
        from ayllu.serve.served import Models
        from ayllu.serve.source import FolderSource

        models = Models() if how.model is None else Models(FolderSource(how.model, home=home))
        parts = load_parts(default_cache(), voices=how.wearer, translate=how.translate)
        if how.model is not None:
            models.load_first().check_converses()
        outside = not is_loopback(listener)
        with contextlib.ExitStack() as ending:
            for part in (parts, models):
                ending.callback(part.close)
            if how.model is not None and parts.eyes is not None:
                parts = replace(parts, taught=seen_by(models))
            key = ending.enter_context(pairing_key(home)) if outside else None
            access = Access(home, required=outside)
            ending.callback(access.close)
            seen, ledger = reachable(how.host), Ledger(home)
            hosts = [*map(checked_host, how.hosts), how.host, seen]
            helper = None
            if how.assist:
                helper = ending.enter_context(assistant(models, home=home, folders=how.folders, allowed=how.approve))
            app = create_glasses_app(
                parts,
                models,
                hosts=hosts,
                access=access,
                ledger=ledger,
                consent=how.consent,
                assistant=helper,
                wake=how.wake,
                wearer=None if parts.voices is None else Wearer(home, parts.voices),
                cancel_echo=how.cancel_echo,
            )
            if how.wyoming is not None:
                app.router.lifespan_context = _with_wyoming(
                    app.router.lifespan_context, Wyoming(parts, ledger), how.wyoming
                )
            certificate = self_made(home, hosts) if outside else None
            config = server_config(app, drain_seconds=how.drain_seconds, certificate=certificate)
            config.ws_max_size = MESSAGE_BYTES
            name = models.about(None).name if models.names else "no model"

            def ready() -> None:
                address = url(seen, port, scheme="https" if outside else "http")
                where = f"page on {address}/glasses · Realtime API on {address}/v1/realtime"
                say(f"the glasses are served with {name}: {where} · Ctrl-C stops")
                if key is not None and certificate is not None:
                    link = pairing_link(seen, port, key)
                    say("scan to pair a phone, which then warns of a certificate that nobody else vouches for:")
                    say(*qr_code(link).splitlines(), link, f"its SHA-256 is {fingerprint(certificate[0])}")

            StoppableServer(config, ready=ready, every_second=access.look).run(sockets=[listener])
    finally:
        listener.close()


def seen_by(models: Models) -> Taught | None:
    """The first of `models`, loaded to be asked about pictures, where it takes them. UserError where it is damaged."""
    about = models.about(None)
    taught = None if about.folder is None else taught_in(about.folder, about.name)
    if taught is not None:
        taught.seer()
        say(taught.summary)
    return taught


def _with_wyoming(living: Callable[[Any], Any], wyoming: Wyoming, port: int) -> Callable[[Any], Any]:
    """The server's life, with a port for Home Assistant beside it."""

    @contextlib.asynccontextmanager
    async def both(app: Any) -> AsyncIterator[Any]:
        async with living(app) as state, await wyoming.start(port) as server:
            say(f"Wyoming on 127.0.0.1:{server.sockets[0].getsockname()[1]}, for this machine only")
            yield state

    return both
