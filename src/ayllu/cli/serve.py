"""`ayllu serve`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ayllu.api.home import find_home
from ayllu.cli.options import Flag, Home
from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from ayllu.serve.audio.speech import Speech
    from ayllu.serve.responses.hosted.tools import HostedFactory
    from ayllu.serve.served import LoadableModel


def serve(
    *model: str,
    host: str = "127.0.0.1",
    port: int = 8080,
    open_browser: bool = False,
    allow_host: list[str] | None = None,
    engine: str = "auto",
    bits: int | None = None,
    cache_bits: int | None = None,
    adapter: list[str] | None = None,
    embedding_model: str | None = None,
    browser: bool = False,
    speech: Flag = False,
    tools: Flag = False,
    mcp_server: list[str] | None = None,
    state: str | None = None,
    keep_days: float = 30,
    memory: float | None = None,
    body_mib: float = 1.0,
    answer_seconds: float = 600.0,
    drain_seconds: float = 20.0,
    base_path: str = "",
    proxy: list[str] | None = None,
    https: Flag = False,
    certificate: Path | None = None,
    certificate_key: Path | None = None,
    log: Literal["off", "text", "json"] = "off",
    log_prompts: Flag = False,
    traces: str | None = None,
    safety: Path | None = None,
    home: Home = None,
) -> None:
    """Serve models: a chat page, and an API that OpenAI's clients speak.

    Parameters
    ----------
    model
        Release folders, or names that recipes gave them; cria unless given. The first is loaded at once and answers
        those who name none, the others are loaded when they are asked for. A name that is made to point to another
        release is served from there, without an answer being cut.
    host
        Address to listen on. Where it is not a loopback address, other machines reach it, and a key of
        `ayllu keys add` is needed; elsewhere a key is asked for once there is one.
    port
        Port to listen on.
    open_browser
        Open the page.
    allow_host
        Another name that this server is reached by, such as host.docker.internal; can be given several times.
        IP addresses, localhost and the name given as host need none.
    engine
        What computes the answers: auto (native where it can be), native (our C code for processors), llama.cpp,
        torch, vllm (the program of that name, for GPUs), or the http URL of a vLLM that serves the model elsewhere.
    bits
        Bits of a weight in the engine native: 4, 8 or 16; 8 unless given. The others take what the files hold.
    cache_bits
        Bits of keys and values in the engine native: 8 or 16; 16 unless given. With 8 a context takes half the memory.
    adapter
        NAME=FOLDER: a LoRA adapter, as peft writes it, for the first model: who asks for NAME has the model with it.
        Can be given several times.
    embedding_model
        An encoder for /v1/embeddings and /v1/rerank: all-MiniLM-L6-v2 (English; 83 MB, downloaded once). The served
        model's own hidden states unless given.
    browser
        Let visitors load the model into their own browsers (llama.cpp as WebAssembly, downloaded once), where it
        answers without this machine.
    speech
        Hear and speak: /v1/audio/transcriptions and /v1/audio/speech, in English (extra glasses; 250 MB of models,
        downloaded once).
    tools
        Run code_interpreter (in the sandbox) and file_search (in vector stores) for clients of /v1/responses.
    mcp_server
        With --tools: an MCP server that clients of /v1/responses may name as server_url, such as
        http://127.0.0.1:9000/mcp; without a path all of that host and port. NAME=URL offers it on the chat page, and to
        clients by that name as server_label, without its URL. Can be given several times; no other server is gone to.
    state
        Where responses and conversations are kept: a file (in the home unless given), postgresql://HOST/DATABASE, or
        none.
    keep_days
        Days that a response is kept after the last one that goes on from it; 0 keeps them for ever.
    memory
        GiB that the weights of all loaded models may take together; those not used for longest are unloaded. No limit
        unless given.
    body_mib
        Largest body of a request, in MiB.
    answer_seconds
        Longest wait for a turn, and then longest time of an answer, which is cut there.
    drain_seconds
        How long answers under way may go on when the server is told to stop.
    base_path
        Path that a reverse proxy puts the server at, such as /ayllu.
    proxy
        Address or network of a reverse proxy whose X-Forwarded-For and X-Forwarded-Proto are believed; can be given
        several times. They are ignored from all others.
    https
        Serve HTTPS, with a certificate that is made here and kept in the home unless one is given.
    certificate
        Your certificate with its chain, PEM.
    certificate_key
        Its private key, PEM.
    log
        A line on stderr for each request: off, text or json. What models are asked and say is not in it.
    log_prompts
        Put what models are asked and say into the log.
    traces
        URL of an OpenTelemetry collector (OTLP over HTTP); OTEL_EXPORTER_OTLP_ENDPOINT unless given.
    safety
        Filter what models are asked and answer, by this policy: a JSON file with name, and off, log or block as default
        and for single hazards.
    """
    from ayllu.lab.channel import find_model
    from ayllu.serve.limits import Limits
    from ayllu.serve.server import Serving, serve_models

    for option, value in (
        ("--memory", 1 if memory is None else memory),
        ("--body-mib", body_mib),
        ("--answer-seconds", answer_seconds),
        ("--drain-seconds", drain_seconds),
    ):
        if not 0 < value < 1e9:
            raise UserError(f"{option} is {value:g}; give more than 0")
    if log_prompts and log == "off":
        raise UserError("--log-prompts needs a log; give --log text or --log json too")
    if mcp_server and not tools:
        raise UserError("--mcp-server needs the server's own tools; give --tools too")
    place, names = find_home(home), model or ("cria",)
    adapters = _adapters(adapter or ())

    def load_speech() -> Speech:
        from ayllu.data.archive import default_cache
        from ayllu.device.parts import load_parts
        from ayllu.device.speech import DeviceSpeech

        return DeviceSpeech(load_parts(default_cache()))

    def sources() -> list[LoadableModel]:
        from ayllu.serve.source import FolderSource

        return [
            FolderSource(
                name,
                home=place,
                engine=engine,
                bits=bits,
                cache_bits=cache_bits,
                adapters={} if number else adapters,
                first=number == 0,
            )
            for number, name in enumerate(names)
        ]

    for name in names:
        find_model(name, place)  # before the port is taken
    how = Serving(
        host=host,
        port=port,
        open_browser=open_browser,
        hosts=tuple(allow_host or ()),
        drain_seconds=drain_seconds,
        home=place,
        limits=Limits(body_bytes=int(body_mib * 2**20), answer_seconds=answer_seconds),
        memory=None if memory is None else int(memory * 2**30),
        base_path=base_path,
        proxies=tuple(proxy or ()),
        certificate=certificate,
        certificate_key=certificate_key,
        https=https,
        log=log,
        log_prompts=log_prompts,
        traces=traces,
        safety=safety,
        embedding_model=embedding_model,
        browser=browser,
        speech=load_speech if speech else None,
        hosted=_hosted(mcp_server or ()) if tools else None,
        state=state,
        keep_days=keep_days,
    )
    serve_models(sources, how)


def _hosted(servers: Sequence[str]) -> HostedFactory:
    from ayllu.assistant.hosted import ServerTools  # which takes a while to import
    from ayllu.assistant.mcp.hosted import AllowedServers

    return functools.partial(ServerTools, servers=AllowedServers(servers))


def _adapters(given: Sequence[str]) -> dict[str, Path]:
    """The folders of adapters by name; UserError for one without a name, or two of one."""
    found: dict[str, Path] = {}
    for one in given:
        name, _, folder = one.partition("=")
        if not name or not folder:
            raise UserError(f"--adapter is {one}; give NAME=FOLDER")
        if name in found:
            raise UserError(f"--adapter has {name} twice; give each a name of its own")
        found[name] = Path(folder).expanduser()
    return found
