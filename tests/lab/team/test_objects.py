"""What a team's store is kept in: objects whole or not at all, and of several who make one name one succeeds."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest

from ayllu.lab.error import UserError
from ayllu.lab.team import objects
from ayllu.lab.team.objects import BucketObjects, FolderObjects, open_objects

RACE = """
import sys
from ayllu.lab.team.objects import open_objects
place = open_objects(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(sum(place.create(f"race/{number}", sys.argv[2].encode()) for number in range(40)))
"""


def test_what_is_written_is_read_and_what_is_not_there_is_told(url: str, tmp_path: Path) -> None:
    place = open_objects(url)
    assert place.names("things") == [] and place.size("things/a") is None
    for action in (lambda: place.read("things/a"), lambda: place.get("things/a", tmp_path / "x")):
        with pytest.raises(FileNotFoundError):
            action()
    (tmp_path / "large").write_bytes(bytes(range(256)) * 40_000)
    place.put("things/large", tmp_path / "large")
    place.write("things/a", b"first")
    place.write("things/a", b"second")
    assert (place.read("things/a"), place.size("things/large")) == (b"second", 10_240_000)
    place.get("things/large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()
    assert place.names("things") == ["a", "large"]
    place.remove("things/a")
    place.remove("things/a")
    assert place.names("things") == ["large"]


def test_a_name_is_made_once_and_keeps_what_it_was_made_with(url: str) -> None:
    place = open_objects(url)
    assert place.create("turn/1", b"mine")
    assert not place.create("turn/1", b"yours")
    assert place.read("turn/1") == b"mine"


def test_of_many_processes_one_makes_each_name(url: str) -> None:
    command = [sys.executable, "-c", RACE, url]
    runs = [
        subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    for run in runs:
        assert run.stdout and run.stdout.readline() == "ready\n"
    for run in runs:
        assert run.stdin
        run.stdin.write("go\n")
        run.stdin.flush()
    won = [int(run.communicate()[0]) for run in runs]
    assert sum(won) == 40
    place = open_objects(url)
    makers = [int(place.read(f"race/{number}")) for number in range(40)]
    assert [makers.count(number) for number in range(4)] == won


def test_a_disk_without_links_still_lets_one_of_many_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(objects.os, "link", refuse)
    place = FolderObjects(tmp_path)
    with ThreadPoolExecutor(8) as threads:
        for number in range(20):
            won = list(threads.map(lambda each, n=number: place.create(f"a/{n}", each), [b"%d" % i for i in range(8)]))
            assert won.count(True) == 1
            assert place.read(f"a/{number}") == b"%d" % won.index(True)
    assert place.names("a") == sorted(map(str, range(20))), "no draft is left"


def test_a_disk_that_goes_away_is_no_empty_store(tmp_path: Path) -> None:
    """Its mount point is still there, and would take everything."""
    (tmp_path / "team").mkdir()
    place = FolderObjects(tmp_path / "team")
    assert place.names("leases") == [] and place.create("leases/a", b"")
    (tmp_path / "team").rename(tmp_path / "unmounted")
    (tmp_path / "team").mkdir()
    for action in (
        lambda: place.names("leases"),
        lambda: place.read("artifacts/a.json"),
        lambda: place.create("leases/a", b""),
    ):
        with pytest.raises(OSError, match="what was in it is gone; see whether its disk is mounted"):
            action()
    assert not list((tmp_path / "team").iterdir())
    (tmp_path / "team").rmdir()
    (tmp_path / "unmounted").rename(tmp_path / "team")
    assert place.names("leases") == ["a"], "and it goes on when the disk is back"


def test_a_server_that_makes_a_thing_twice_is_refused(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from s3fs import S3FileSystem

    S3FileSystem(skip_instance_cache=True).mkdir("forgetful")
    place = BucketObjects("s3://forgetful/x")
    given = place._files.pipe_file
    monkeypatch.setattr(place._files, "pipe_file", lambda path, data, mode="": given(path, data))
    with pytest.raises(UserError, match="does not know If-None-Match"):
        place.create("leases/a", b"")
    assert place.names("leases") == [] and place.names("probes") == []


def test_what_is_no_store_is_refused_in_a_sentence(server: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no folder .*gone; make it, or see whether its disk is mounted"):
        open_objects(str(tmp_path / "gone"))
    with pytest.raises(UserError, match="there is no bucket 'nobodys'"):
        open_objects("s3://nobodys/things")
    for wrong in ("http://somewhere/x", "s3://", "gs://bucket/x"):
        with pytest.raises(UserError, match=f"'{wrong}' is no team's store; give a folder"):
            open_objects(wrong)
    assert open_objects(f"file://{tmp_path}").url == str(tmp_path)


def test_a_server_that_is_gone_is_an_oserror_and_a_sentence(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(UserError, match="the team's store s3://any/x cannot be reached"):
        BucketObjects("s3://any/x")


def test_a_server_that_says_nothing_is_not_asked_for_ever(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that was stopped: it is connected to, and hangs up or is silent."""
    asked = []

    class Silent(StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.request.recv(65536))

    monkeypatch.delenv("AWS_MAX_ATTEMPTS", raising=False)
    with ThreadingTCPServer(("127.0.0.1", 0), Silent) as stopped:
        threading.Thread(target=stopped.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{stopped.server_address[1]}")
        with pytest.raises(UserError, match="the team's store s3://any/x cannot be reached"):
            BucketObjects("s3://any/x")
        stopped.shutdown()
    assert len(asked) <= 12, "the layer below those two asks once more where a server hangs up"
