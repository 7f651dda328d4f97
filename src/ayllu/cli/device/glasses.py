"""`ayllu glasses`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import App

from ayllu.api.home import find_home
from ayllu.cli.options import Flag, Home, Json, print_json, print_lines
from ayllu.lab import progress
from ayllu.lab.error import UserError

if TYPE_CHECKING:
    from ayllu.device.see.scene import Seen
    from ayllu.device.think.mind import Mind

app = App(name="glasses", help="Talk and show: a microphone, a camera and a speaker for a model.")


@app.default
def glasses(
    *,
    port: int = 8090,
    host: str = "127.0.0.1",
    model: str = "none",
    allow_host: list[str] | None = None,
    consent: Literal["light", "ask", "push"] = "light",
    wake: str | None = None,
    wearer: Flag = False,
    translate: str | None = None,
    assist: Flag = False,
    folder: list[Path] | None = None,
    approve: list[str] | None = None,
    cancel_echo: Flag = False,
    wyoming: int | None = None,
    home: Home = None,
) -> None:
    """Serve the glasses: OpenAI's Realtime protocol on /v1/realtime, beside everything that `ayllu serve` has.

    Parameters
    ----------
    port
        Port to listen on; 0 takes a free one.
    host
        Address to listen on. Where it is not a loopback address, the server has HTTPS with a certificate of its own,
        and shows a QR code that pairs a phone.
    model
        The name or folder of the model that answers, such as smollm2; none to have repeated what was heard.
    allow_host
        Another name that this server is reached by; can be given several times.
    consent
        By whose leave the glasses listen: light (the capture light is the notice), ask (nothing is taken before
        somebody has said yes aloud), push (a button is held for every word).
    wake
        A phrase, such as "okay glasses": what is said without it is neither answered nor kept.
    wearer
        Answer the wearer alone: turns in other voices than the enrolled one are passed over (`ayllu glasses enrol`).
    translate
        Translate what is heard and seen instead of answering it: from one language to another, such as en-pt, of
        English, Portuguese and Spanish.
    assist
        Let the model work with the tools of `ayllu assist`; what needs approval is asked aloud.
    folder
        A folder whose files the assistant may read; can be given several times.
    approve
        A tool of the assistant that needs no approval this time; can be given several times.
    cancel_echo
        Take the glasses' own voice out of what clients hear: for those that play aloud beside an open microphone and
        cancel no echo themselves. The page, whose browser does, says so.
    wyoming
        Port for Home Assistant's Wyoming protocol, on this machine only.
    """
    from ayllu.device.app import Wearing, serve_glasses
    from ayllu.device.hear.wake import checked_phrase
    from ayllu.device.translate.translator import languages
    from ayllu.lab.channel import find_model

    place = find_home(home)
    if assist and model == "none":
        raise UserError("--assist needs a model: name one with --model, such as smollm2")
    if (folder or approve) and not assist:
        raise UserError("--folder and --approve are for the assistant: give --assist too")
    if model != "none":
        find_model(model, place)
    serve_glasses(
        Wearing(
            model=None if model == "none" else model,
            host=host,
            port=port,
            hosts=tuple(allow_host or ()),
            home=place,
            consent=consent,
            wake=None if wake is None else checked_phrase(wake),
            wearer=bool(wearer),
            translate=None if translate is None else languages(translate),
            assist=bool(assist),
            folders=tuple(folder or ()),
            approve=tuple(approve or ()),
            cancel_echo=bool(cancel_echo),
            wyoming=wyoming,
        )
    )


@app.command
def bench(*, turns: int = 20, model: str = "none", home: Home = None, json: Json = False) -> None:
    """Play spoken turns through the whole chain in real time: how long each answer takes, and what is misheard.

    Parameters
    ----------
    turns
        How many turns are played, about six seconds each.
    model
        The name or folder of the model that answers, such as smollm2; none for the ears and the voice alone.
    """
    if turns < 1:
        raise UserError(f"--turns is {turns}; give at least 1")
    from ayllu.data.archive import default_cache
    from ayllu.device.bench.run import run_bench
    from ayllu.device.parts import load_parts

    with _mind(model, find_home(home)) as mind:
        parts = load_parts(default_cache())
        try:
            with progress.bar("play", total=turns, unit="turns") as meter:
                found = asyncio.run(run_bench(parts, mind, turns=turns, step=lambda done: meter.advance(1)))
        finally:
            parts.close()
    if json:
        print_json(found)
    else:
        print_lines(_lines(found))


@app.command
def play(
    script: Path,
    /,
    *,
    url: str = "http://127.0.0.1:8090",
    key: str | None = None,
    pace: float = 1.0,
    own: Flag = False,
    json: Json = False,
) -> int:
    """Play a script on a simulated device against a server of glasses: files as sensors, battery, wind and steps.

    Ends with 1 where something was not answered, lost, or not as the script expects.

    Parameters
    ----------
    script
        What the wearer does, as YAML or JSON (docs/glasses.md).
    url
        The server.
    key
        An API key, where the server asks for one.
    pace
        Seconds of real time for one second of speech; 0 for as fast as it goes.
    own
        Give the device ears and a voice of its own: for each turn it chooses where it hears and speaks, by what that
        has taken so far, battery and temperature.
    """
    from ayllu.data.archive import default_cache
    from ayllu.device.parts import load_parts
    from ayllu.device.simulated.play import Player
    from ayllu.device.simulated.script import read_script
    from ayllu.device.speak.piper import Piper

    if pace < 0:
        raise UserError(f"--pace is {pace}; give 0 or more")
    read = read_script(script)
    address = url.rstrip("/").replace("http", "ws", 1) + "/v1/realtime"
    parts = load_parts(default_cache()) if own else None
    voice = Piper(default_cache(), threads=1) if parts is None else parts.voice
    player = Player(read, address, voice, key=key, pace=pace, own=parts)
    with progress.bar("play", total=len(read.steps), unit="steps") as meter:
        found = asyncio.run(player.play(lambda done: meter.advance(1)))
    if parts is not None:
        parts.close()
    if json:
        print_json(found)
    else:
        print_lines(_played(found))
    return 0 if not (found["unanswered"] or found["lost"] or found["expectations_unmet"]) else 1


def _played(found: dict[str, Any]) -> list[str]:
    device = found["device"]
    told = []
    for turn in found["turns"]:
        told.append(f"{turn['said'] or 'a recording'} → {turn['answer'] or turn['status']}")
        told += [f"  {one['stage']} on the {one['place']}: {one['why']}" for one in turn["placed"]]
    return [
        *told,
        f"unanswered: {found['unanswered']} · asked again: {found['asked_again']} · lost: {len(found['lost'])} of "
        f"{found['acknowledged']} acknowledged · connections: {found['connections']}",
        f"words misheard: {100 * found['word_error_rate']:.1f} % · answers taken for somebody who speaks: "
        f"{found['interrupted_itself']}",
        *(f"expected and not said: {words}" for words in found["expectations_unmet"]),
        f"battery {device['battery']:.0%} · {device['temperature']:.1f} °C after {device['seconds']:.0f} s",
    ]


@app.command
def look(
    picture: Path,
    question: str | None = None,
    /,
    *,
    translate: str | None = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Look at a picture and tell what is seen, each statement with its place and how sure it is.

    Where `ayllu run see` has made a model that was measured to see more, it answers questions about shapes.

    Parameters
    ----------
    picture
        A picture (JPEG, PNG, WebP, GIF), or a folder, whose newest picture is taken.
    question
        What to answer, such as "What does the sign say?"; everything is told where nothing is asked.
    translate
        From which language to which the answer is translated, such as pt-en.
    """
    from ayllu.data.archive import default_cache
    from ayllu.device.see.answer import as_json
    from ayllu.device.see.eyes import Eyes
    from ayllu.device.see.taught import find_taught
    from ayllu.device.see.tool import answered, look_at, newest
    from ayllu.device.translate.translator import Translator, languages

    way = None if translate is None else languages(translate)
    path = newest(picture)
    if not path.is_file():
        raise UserError(f"there is no picture {path}")
    taught = find_taught(find_home(home)) if question is not None else None
    scene = look_at(Eyes(default_cache()), path, taught, question)
    found = answered(scene, question)
    writing = " ".join(one.what for one in found.rests_on if one.kind == "writing")
    told = Translator(*way, default_cache()).translate(writing) if way and writing else None
    if json:
        translated = {} if way is None else {"translation": told}
        print_json(
            {**as_json(found), **translated, "seen": [one.body() for one in scene.seen], "faces_blurred": scene.faces}
        )
    else:
        print_lines([found.text, *([told] if told else []), *(f"  {_sight(one)}" for one in found.rests_on)])


def _sight(one: Seen) -> str:
    left, top, right, bottom = one.box
    if one.kind == "guess":
        return f"{one.what} · {one.source}"
    return f"{one.kind} {one.what} · {one.place} ({left:.2f} {top:.2f} {right:.2f} {bottom:.2f}) · {one.confidence:.0%}"


@app.command
def translate(languages: str, text: str, /) -> None:
    """Translate a text between English, Portuguese and Spanish.

    Parameters
    ----------
    languages
        From which to which, such as en-pt.
    text
        One sentence or more.
    """
    from ayllu.data.archive import default_cache
    from ayllu.device.translate import translator

    source, target = translator.languages(languages)
    print_lines([translator.Translator(source, target, default_cache()).translate(text)])


@app.command
def ledger(*, home: Home = None, json: Json = False) -> None:
    """Show what was captured, why and where it went; a line that was changed is named, and the command ends with 2."""
    from ayllu.device.privacy.ledger import Ledger

    entries = Ledger(find_home(home)).entries()
    if json:
        print_json({"entries": [{"number": one.number, "content": one.content} for one in entries], "intact": True})
    else:
        print_lines(f"{one.number}  {_told(one.content)}" for one in entries)
        print_lines([f"{len(entries)} lines, none of them changed"])


@app.command
def enrol(*recordings: Path, home: Home = None) -> None:
    """Keep the wearer's voice, for `--wearer`: as 192 numbers, on this machine alone, until they are erased.

    The page does the same with its microphone, by "My voice".

    Parameters
    ----------
    recordings
        WAV files of the wearer, at least three sentences, one in each; none of anybody else.
    """
    if not recordings:
        raise UserError(
            'give WAV files with a sentence each, or press "My voice" on the page of: ayllu glasses --wearer'
        )
    from ayllu.data.archive import default_cache
    from ayllu.device.hear.campplus import CamPlus
    from ayllu.device.privacy.wearer import Wearer
    from ayllu.device.simulated.senses import read_wav

    sentences = [read_wav(path) for path in recordings]
    wearer = Wearer(find_home(home), CamPlus(default_cache()))
    wearer.enrol(sentences)
    print_lines([f"your voice is in {wearer.path}; `ayllu glasses erase --voice` takes it away"])


@app.command
def erase(*, session: str | None = None, voice: Flag = False, everything: Flag = False, home: Home = None) -> None:
    """Erase lines of the ledger; that they were there, and that they were erased, stays.

    Parameters
    ----------
    session
        The lines of one session.
    voice
        The wearer's voice, and no line.
    everything
        All lines, and the wearer's voice.
    """
    if [bool(voice), bool(everything), session is not None].count(True) != 1:
        raise UserError("say what to erase: --session NAME, --voice or --everything")
    from ayllu.device.privacy.ledger import Ledger
    from ayllu.device.privacy.wearer import forget

    place = find_home(home)
    if voice or everything:
        print_lines(["the wearer's voice was erased" if forget(place) else "no voice was kept"])
    if not voice:
        count = Ledger(place).erase(lambda content: everything or content.get("session") == session)
        print_lines([f"{count} lines erased"])


def _told(content: dict[str, Any] | None) -> str:
    if content is None:
        return "erased"
    when = datetime.fromtimestamp(float(content.get("time", 0))).isoformat(" ", "seconds")
    return f"{when}  " + " · ".join(f"{name}: {value}" for name, value in content.items() if name != "time")


@contextmanager
def _mind(name: str, home: Path) -> Iterator[Mind]:
    """What answers, loaded."""
    if name == "none":
        from ayllu.device.think.mind import Echo

        yield Echo()
        return
    from ayllu.lab.channel import find_model

    find_model(name, home)
    from ayllu.device.think.served import ServedMind
    from ayllu.serve.served import Models
    from ayllu.serve.source import FolderSource

    models = Models(FolderSource(name, home=home))
    models.load_first()
    try:
        yield ServedMind(models)
    finally:
        models.close()


def _lines(found: dict[str, Any]) -> list[str]:
    times = found["voice_to_voice_ms"]
    rows = [("voice to voice", times), *((f"  {name}", stage) for name, stage in times["stages"].items())]
    told = [f"{'':<18}{'p50':>8}{'p95':>8}"]
    told += [f"{name:<18}{_ms(row['p50']):>8}{_ms(row['p95']):>8}" for name, row in rows]
    return [
        *told,
        f"words misheard: {100 * found['word_error_rate']:.1f} %",
        f"false interruptions: {found['false_interruptions']} in {found['turns']} turns",
        f"model: {found['model']} · " + " · ".join(f"{role}: {name}" for role, name in found["parts"].items()),
    ]


def _ms(value: float | None) -> str:
    return "none" if value is None else f"{value:.0f} ms"
