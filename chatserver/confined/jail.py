"""The child's first lines: take away what it does not need, then run a script. Run by path, so that nothing of ours is
imported: `python -I jail.py MEMORY_BYTES CPU_S FILE_BYTES SCRIPT [WORDS…]`."""

import contextlib
import ctypes
import os
import resource
import runpy
import sys

NEW_NETWORK, NEW_USER = 0x40000000, 0x10000000  # CLONE_NEWNET, CLONE_NEWUSER of linux/sched.h
NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS of linux/prctl.h
OPEN_FILES = 64


def lock_in(memory_bytes: int, cpu_s: int, file_bytes: int) -> None:
    """From here on: no more than this, and no way to get it back. A system that knows less takes away less."""
    os.umask(0o077)
    os.nice(5)
    with contextlib.suppress(OSError, AttributeError):
        system = ctypes.CDLL(None, use_errno=True)
        system.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        if system.unshare(NEW_NETWORK) != 0:
            system.unshare(NEW_USER | NEW_NETWORK)
    for kind, bound in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
    ):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (bound, bound))


if __name__ == "__main__":
    memory_bytes, cpu_s, file_bytes, script, *words = sys.argv[1:]
    lock_in(int(memory_bytes), int(cpu_s), int(file_bytes))
    sys.argv = [script, *words]
    runpy.run_path(script, run_name="__main__")
