"""Become another program that never outlives its parent: run by path, standard library only, imports nothing of ours.

    python -I -S die_with_parent.py PARENT SIGNAL UID GID PROGRAM ARGUMENT...

A launcher instead of a `preexec_fn`: that one may deadlock in a process with threads. UID -1 keeps the user.
Outside Linux there is no such leash; the next `coursaga up` then finds and stops what was left over.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def become(parent: int, signal: int, uid: int, gid: int, command: list[str]) -> None:
    """Switch to the account, ask the kernel for `signal` on the parent's death, then run `command` in place of this
    process."""
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)  # clears the leash of the kernel, therefore first
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0)
        if os.getppid() != parent:  # it died in between
            sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    of, signal_number, user, group = map(int, sys.argv[1:5])
    become(of, signal_number, user, group, sys.argv[5:])
