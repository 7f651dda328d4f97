"""Taking more than is allowed: processes, memory, disk, time, output. The numbers are what the host allows."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import re
import resource
import signal
import sys
import threading
import time

from .prelude import Evidence, Host, call

UNSHOWN = {
    "fill_temporary": "nothing outside bounds that folder",
    "fill_shared_memory": "nothing outside bounds that folder",
    "forge_reply": "there is no such pipe outside",
    "nested_reply": "there is no such pipe outside",
    "endless_reply": "there is no such pipe outside",
    "write_forever": "outside nobody would stop it",
    "write_much": "outside nobody counts what is written",
    "remain": "it would have to be ended by hand",
}


def many_processes(host: Host) -> Evidence:
    """have more processes than are allowed at one time"""
    children = []
    for _ in range(host["processes"] + 20):
        child = os.fork()
        if child == 0:
            time.sleep(5)
            os._exit(0)
        children.append(child)
    # Without a cgroup they are counted twenty times a second: a look must fall into the time that they are there.
    time.sleep(1)
    for child in children:
        os.kill(child, signal.SIGKILL)
    return True


def bomb(host: Host) -> Evidence:
    """fork from every child, up to more generations than are allowed processes"""
    reading, writing = os.pipe()
    for _ in range(6):
        with contextlib.suppress(OSError):
            os.fork()
    os.write(writing, b".")
    time.sleep(0.5)
    os.set_blocking(reading, False)
    return len(os.read(reading, 4096)) > host["processes"] + 4


def many_threads(host: Host) -> Evidence:
    """have more threads than are allowed processes"""
    end = threading.Event()
    for _ in range(host["processes"] + 20):
        threading.Thread(target=end.wait, daemon=True).start()
    time.sleep(1)
    end.set()
    return True


def much_memory(host: Host) -> Evidence:
    """take more memory than is allowed, in one piece"""
    return len(bytearray(b"x") * (host["memory_mib"] + 64 << 20)) > 0


def much_memory_in_pieces(host: Host) -> Evidence:
    """take it in small pieces"""
    kept = [b"x" * 1_000_000 + str(number).encode() for number in range(host["memory_mib"] + 64)]
    return len(kept) > 0


def memory_of_children(host: Host) -> Evidence:
    """take it in many processes, each of which takes little"""
    half = host["memory_mib"] // 2
    children = []
    reading, writing = os.pipe()
    for _ in range(5):
        child = os.fork()
        if child == 0:
            kept = bytearray(b"x") * (half << 20)
            os.write(writing, b"." * (len(kept) > 0))
            time.sleep(4)
            os._exit(0)
        children.append(child)
    time.sleep(2.5)
    os.set_blocking(reading, False)
    alive = [child for child in children if os.waitpid(child, os.WNOHANG) == (0, 0)]
    got = len(os.read(reading, 16))
    for child in alive:
        os.kill(child, signal.SIGKILL)
    if len(alive) < 5 or got < 5:
        raise MemoryError(f"{len(alive)} of 5 children are left")
    return True


def shared_mapping(host: Host) -> Evidence:
    """take it as memory that processes share"""
    area = mmap.mmap(-1, host["memory_mib"] + host["work_mib"] + 64 << 20)
    for at in range(0, len(area), 4096):
        area[at] = 1
    return True


def memory_file(host: Host) -> Evidence:
    """take it as a file without a name"""
    return call("memfd_create", b"x", 0) >= 0


def system_v_memory(host: Host) -> Evidence:
    """take it as a segment of System V"""
    number = call("shmget", 0, 1 << 20, 0o1600)
    call("shmctl", number, 0, 0)
    return True


def lock_memory(host: Host) -> Evidence:
    """lock memory"""
    area = ctypes.create_string_buffer(1 << 16)
    call("mlock", ctypes.addressof(area), 1 << 16)
    return True


def large_file(host: Host) -> Evidence:
    """write a file that is larger than allowed"""
    with open("large", "wb") as file:
        for _ in range(host["file_mib"] + 4):
            file.write(b"x" * (1 << 20))
    return True


def fill_work(host: Host) -> Evidence:
    """write more into the work folder than it may hold"""
    for number in range(host["work_mib"] + 4):
        with open(f"part{number}", "wb") as file:
            file.write(b"x" * (1 << 20))
    return True


def fill_temporary(host: Host) -> Evidence:
    """write more into /tmp than it may hold"""
    for number in range(host["work_mib"] + 32):
        with open(f"/tmp/part{number}", "wb") as file:
            file.write(b"x" * (1 << 20))
    return True


def fill_shared_memory(host: Host) -> Evidence:
    """write more into /dev/shm than it may hold"""
    for number in range(host["work_mib"] + 32):
        with open(f"/dev/shm/part{number}", "wb") as file:
            file.write(b"x" * (1 << 20))
    return True


def raise_limits(host: Host) -> Evidence:
    """raise a limit again"""
    for name in ("RLIMIT_NPROC", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_AS"):
        resource.setrlimit(getattr(resource, name), (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return True


def many_files(host: Host) -> Evidence:
    """open more files than are allowed"""
    return len([os.open("/dev/null", os.O_RDONLY) for _ in range(300)]) == 300


def run_long(host: Host) -> Evidence:
    """compute for longer than allowed"""
    end = time.monotonic() + host["seconds"] * 1.5
    while time.monotonic() < end:
        pass
    return True


def run_long_deaf(host: Host) -> Evidence:
    """compute for longer than allowed, deaf to every signal"""
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    return run_long(host)


def run_long_in_c(host: Host) -> Evidence:
    """compute for longer than allowed within one call of a library"""
    began = time.monotonic()
    while time.monotonic() < began + host["seconds"] * 1.5:
        re.match(r"(a+)+$", "a" * 23 + "b")
    return True


def sleep_long(host: Host) -> Evidence:
    """wait for longer than allowed"""
    time.sleep(host["seconds"] * 1.5)
    return True


def run_long_as_child(host: Host) -> Evidence:
    """compute for longer than allowed in a child that has left its session"""
    if os.fork() == 0:
        os.setsid()
        run_long(host)
        os._exit(0)
    os.wait()
    return True


def remain(host: Host) -> Evidence:
    """leave a process behind that outlives the sandbox"""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for fd in range(3):
                os.close(fd)
            time.sleep(60)
        os._exit(0)
    os.wait()
    return False


def write_much(host: Host) -> Evidence:
    """write more output than is kept"""
    sys.stdout.write("x" * (host["output_kib"] * 2 << 10) + "END-OF-OUTPUT")
    sys.stdout.flush()
    return False


def write_forever(host: Host) -> Evidence:
    """write without end"""
    line = b"x" * 65536
    end = time.monotonic() + host["seconds"] * 1.5
    while time.monotonic() < end:
        os.write(2, line)
    return True


def forge_reply(host: Host) -> Evidence:
    """answer the host in the interpreter's place: a file that lies outside the folder, a size that is not there"""
    _answer(b'{"exit": 0, "files": ["../../escaped", "/tmp/escaped"], "pictures": 0, "sizes": [4, 4]}')
    return False


def nested_reply(host: Host) -> Evidence:
    """answer the host with something nested so deep that reading it fails"""
    _answer(b"[" * 200_000)
    return False


def endless_reply(host: Host) -> Evidence:
    """answer the host without end"""
    for fd in _pipes():
        with contextlib.suppress(OSError):
            while True:
                os.write(fd, b"\xff" * 65536)
    return False


def _answer(head: bytes) -> None:
    for fd in _pipes():
        with contextlib.suppress(OSError):
            os.write(fd, len(head).to_bytes(8, "big") + head + b"evil" * 2)


def _pipes() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if int(name) > 2 and os.readlink(f"/proc/self/fd/{name}").startswith("pipe:"):
                found.append(int(name))
    return found
