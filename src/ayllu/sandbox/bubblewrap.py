"""bubblewrap's command line: what of the machine is there inside, and whether it can be made here at all."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ayllu.sandbox import packages, seccomp
from ayllu.sandbox.outcome import Limits, NoSandbox

WORK = "/work"
"""The folder in which programs run."""
INSIDE = Path(__file__).with_name("inside.py")
NOBODY = "65534"
TEMPORARY = 16 << 20
"""Bytes of /tmp and of /dev/shm."""
SHOWN = (
    "cpuinfo",
    "filesystems",
    "loadavg",
    "meminfo",
    "mounts",
    "net",
    "self",
    "stat",
    "thread-self",
    "uptime",
    "version",
)
"""What /proc tells of the machine. Much of the rest may be read or written by its owner, root, if root runs us: even
without capabilities a program could still change /proc/sys/kernel/core_pattern, if that were there."""
ENVIRONMENT = {
    "HOME": WORK,
    "LANG": "C.UTF-8",
    "MALLOC_ARENA_MAX": "2",
    "MPLBACKEND": "agg",
    "MPLCONFIGDIR": "/tmp",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PATH": "/usr/bin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONPATH": str(packages.PLACE),
    "TMPDIR": "/tmp",
    "TZ": "UTC",
    "XDG_CACHE_HOME": "/tmp",
}
INSTALL = "install bubblewrap (apt-get install bubblewrap, dnf install bubblewrap)"


def program() -> str:
    """Where bubblewrap is. Raises NoSandbox."""
    if sys.platform != "linux":
        raise NoSandbox(f"programs are run in a sandbox on Linux only, and this is {sys.platform}: nothing was run")
    if seccomp.machine() is None:
        raise NoSandbox(
            f"the sandbox knows the system calls of {' and '.join(seccomp.MACHINES)} only, not of "
            f"{os.uname().machine}: nothing was run"
        )
    found = shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")
    if found is None:
        raise NoSandbox(f"there is no sandbox on this machine, so nothing was run: {INSTALL}")
    return found


def arguments(
    limits: Limits, names: Sequence[str], *, filter_fd: int, status_fd: int, more: Sequence[str] = ()
) -> list[str]:
    """bubblewrap's options for one sandbox, up to the command that runs in it; `more` brings further files in."""
    options = ["--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    options += ["--unshare-cgroup-try", "--disable-userns", "--cap-drop", "ALL", "--uid", NOBODY, "--gid", NOBODY]
    options += ["--hostname", "sandbox", "--die-with-parent", "--new-session", "--clearenv"]
    options += ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        place = Path("/", name)
        if place.is_symlink():
            options += ["--symlink", f"usr/{name}", f"/{name}"]
        elif place.is_dir():
            options += ["--ro-bind", str(place), str(place)]
    for name in ("ld.so.cache", "alternatives", "fonts"):
        options += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    options += [*packages.interpreter()[0], *packages.binds(tuple(names))]
    options += ["--ro-bind", str(INSIDE), "/opt/inside.py"]
    options += ["--proc", "/proc"]
    for place in sorted(Path("/proc").iterdir()):
        if place.name.isdigit() or place.name in SHOWN:
            continue
        if place.is_dir():
            options += ["--size", "4096", "--tmpfs", str(place), "--remount-ro", str(place)]
        else:
            options += ["--ro-bind", "/dev/null", str(place)]  # without the right to open devices: nobody can read it
    options += ["--dev", "/dev", "--size", str(TEMPORARY), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]
    options += ["--size", str(limits.work_mib << 20), "--tmpfs", WORK]
    options += ["--size", str(TEMPORARY), "--tmpfs", "/tmp", *more]
    options += ["--remount-ro", "/", "--chdir", WORK]
    for name, value in ENVIRONMENT.items():
        options += ["--setenv", name, value]
    return [*options, "--seccomp", str(filter_fd), "--info-fd", str(status_fd)]


@functools.cache
def require() -> str:
    """Where bubblewrap is, when it can make a sandbox here. Raises NoSandbox, so that nothing runs without one."""
    path = program()
    refused = None
    reading, writing = os.pipe()
    filter_fd = os.memfd_create("filter")
    try:
        os.write(filter_fd, seccomp.program(str(seccomp.machine())))
        os.lseek(filter_fd, 0, os.SEEK_SET)
        options = arguments(Limits(), (), filter_fd=filter_fd, status_fd=writing)
        command = [path, *options, packages.interpreter()[1], "-c", "print('here')"]
        done = subprocess.run(
            command, env={}, pass_fds=(filter_fd, writing), stdin=subprocess.DEVNULL, capture_output=True, timeout=60
        )
        if done.stdout != b"here\n":
            refused = (done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}").splitlines()[
                -1
            ]
    except (OSError, subprocess.TimeoutExpired) as error:
        refused = str(error)
    finally:
        for fd in (reading, writing, filter_fd):
            os.close(fd)
    if refused is not None:
        raise NoSandbox(
            f"bubblewrap makes no sandbox here ({refused[:200]}), so nothing was run: it needs version 0.8 or newer "
            "and user namespaces, which the kernel or a container around this one may forbid"
        )
    return path
