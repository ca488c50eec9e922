"""Starting a server as the right account, in its own session, so that it never outlives what started it."""

import ctypes
import os
import signal
import stat
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

PR_SET_PDEATHSIG = 1  # linux/prctl.h
CLONE_NEWUSER = 0x10000000  # linux/sched.h
INSIDE_ID = 1000  # what a server that refuses root sees as its own id inside the namespace
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class ServerError(RuntimeError):
    """A server could not be started or stopped; the message says what to do about it."""


@dataclass(frozen=True)
class Account:
    """Who a server runs as: ourselves, another user (root only), or ourselves under another id in a
    namespace.
    """

    kind: Literal["self", "user", "namespace"]
    uid: int
    gid: int

    def become(self) -> None:
        """Turn the calling process into this account. For a forked child only.

        Raises:
            OSError: the kernel refuses the change.
        """
        if self.kind == "user":
            os.setgroups([])
            os.setgid(self.gid)
            os.setuid(self.uid)
        elif self.kind == "namespace":
            if _LIBC is None or _LIBC.unshare(CLONE_NEWUSER) != 0:
                raise OSError(ctypes.get_errno(), "user namespaces are not available")
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/gid_map").write_text(f"{INSIDE_ID} {self.gid} 1")
            Path("/proc/self/uid_map").write_text(f"{INSIDE_ID} {self.uid} 1")


def myself() -> Account:
    """The account of this process."""
    return Account("self", os.geteuid(), os.getegid())


def launch(
    argv: Sequence[str | Path],
    account: Account,
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start ``argv`` in a session of its own, appending what it prints to ``log``.

    On Linux the kernel sends it ``death_signal`` when the *thread* that called this ends, however it ends,
    so call it
    from a thread that lives as long as the server should.

    Raises:
        ServerError: the program cannot be executed as that account.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    parent = os.getpid()

    def prepare() -> None:
        account.become()
        tie_to_parent(parent, death_signal)

    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", **(environment or {})}
    with log.open("ab") as output:
        try:
            return subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                cwd="/",
                start_new_session=True,
                preexec_fn=prepare,  # called before any thread of ours exists
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise ServerError(f"Cannot execute {argv[0]}: {error}. Reinstall the requirements.") from error


def tie_to_parent(parent: int, death_signal: signal.Signals) -> None:
    """Have the kernel signal the calling process when its parent dies. For a forked child only; Linux only.

    A change of credentials clears the request, so it comes after the child has become its account.
    """
    if _LIBC is None:
        return
    _LIBC.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != parent:  # it died between the fork and the request
        os._exit(1)


def can_use(account: Account, binary: Path, folder: Path) -> bool:
    """Whether ``account`` can execute ``binary`` with its libraries and enter ``folder``: tried, not
    computed.
    """

    def prepare() -> None:
        account.become()
        os.chdir(folder)

    try:
        done = subprocess.run(
            [str(binary), "--version"],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=prepare,  # called before any thread of ours exists
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def own(folder: Path, account: Account) -> None:
    """Make ``folder`` a directory of ``account`` with mode 0700, and what it holds the account's too.

    Raises:
        ServerError: it belongs to somebody else, or is not a directory, and we may not change that.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise ServerError(f"{folder} is not a folder. Move it away.")
        if found.st_uid != account.uid:
            if os.geteuid() != 0:
                raise ServerError(
                    f"{folder} belongs to user id {found.st_uid}, we are {account.uid}. "
                    f"Run `sudo chown -R {account.uid}:{account.gid} {folder}` or set QT_DATA_DIR elsewhere."
                )
            for path in [folder, *folder.rglob("*")]:
                os.chown(path, account.uid, account.gid, follow_symlinks=False)
        if stat.S_IMODE(found.st_mode) != 0o700:
            folder.chmod(0o700)
    except OSError as error:
        raise ServerError(
            f"Cannot prepare {folder}: {error}. Make it writable or set QT_DATA_DIR to another folder."
        ) from error


def last_lines(log: Path, count: int = 15) -> str:
    """The last ``count`` lines of ``log``, indented, or a note that there are none."""
    try:
        with log.open(errors="replace") as lines:
            tail = "".join(f"    {line}" for line in deque(lines, count))
    except OSError:
        tail = ""
    return tail.rstrip() or "    (no output)"


def wait_until(condition: Callable[[], bool], seconds: float, *, pause: float = 0.01) -> bool:
    """Poll ``condition`` until it holds or ``seconds`` have passed; says whether it held."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True


def is_program(pid: int, binary: Path) -> bool:
    """Whether process ``pid`` is alive and runs ``binary``: a process id alone may have been given to
    another.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return Path(process.exe()).resolve() == binary.resolve()
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # somebody else's process is not our server
        return False


def is_alive(pid: int) -> bool:
    """Whether process ``pid`` exists and is not a zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
