"""The strategies that there are: the modules of ``strategies``, and the files of the folder that an operator names."""

import hashlib
import importlib
import importlib.util
import os
import pkgutil
import re
import stat
import sys
import traceback
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from trading.backtests import strategies
from trading.backtests.strategy import BrokenStrategy, Strategy

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


class UnknownStrategy(LookupError):
    """No strategy has that name."""


@dataclass(frozen=True, slots=True)
class Found:
    """A strategy with the SHA-256 of its file, by which a run says what it ran."""

    name: str
    strategy: Strategy[Any]
    sha256: str
    own: bool


_loaded: dict[tuple[Path, str], Strategy[Any]] = {}


def names(folder: Path | None = None) -> list[str]:
    """The names of all strategies, those of ``folder`` included, whether they work or not."""
    return sorted(_shipped() | {file.stem for file in _files(folder)})


def find(name: str, folder: Path | None = None) -> Found:
    """The strategy called ``name``; raises `UnknownStrategy`, or `BrokenStrategy` when its file cannot be used.

    A file of ``folder`` is read again whenever its bytes have changed, so that no worker runs an old one.
    """
    own = {file.stem: file for file in _files(folder)}
    if name in own:
        if name in _shipped():
            raise BrokenStrategy(f"{own[name]} has the name of a strategy of the platform; rename it")
        return _own(name, own[name])
    if name not in _shipped():
        raise UnknownStrategy(f"no strategy is called {name!r}; there are: {', '.join(names(folder))}")
    return _of_the_platform(name)


def anew(name: str, folder: Path | None = None) -> Found:
    """As `find`, but a file of ``folder`` is run again: the strategy keeps nothing of what it was shown before."""
    found = find(name, folder)
    if not found.own or folder is None:
        return found
    return _own(name, folder / f"{name}.py", keep=False)


@cache
def _of_the_platform(name: str) -> Found:
    """Once a process, which does not load its own code again either."""
    module = importlib.import_module(f"{strategies.__name__}.{name}")
    digest = hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest()
    return Found(name, module.STRATEGY, digest, own=False)


@cache
def _shipped() -> frozenset[str]:
    return frozenset(info.name for info in pkgutil.iter_modules(strategies.__path__))


def problems(folder: Path | None) -> list[str]:
    """What is wrong with ``folder`` and its files, one sentence each."""
    if folder is None:
        return []
    if not folder.is_dir():
        return [f"{folder} is not a folder"]
    found = []
    for file in _files(folder):
        try:
            find(file.stem, folder)
        except BrokenStrategy as error:
            found.append(str(error))
    return found


def _files(folder: Path | None) -> list[Path]:
    if folder is None or not folder.is_dir():
        return []
    return sorted(file for file in folder.glob("*.py") if not file.name.startswith("_"))


def _own(name: str, file: Path, *, keep: bool = True) -> Found:
    if not NAME.fullmatch(name):
        raise BrokenStrategy(f"{file} cannot be a name: use small letters, digits and _, a letter first")
    _only_ours(file.parent)
    _only_ours(file)
    source = file.read_bytes()
    digest = hashlib.sha256(source).hexdigest()
    if not keep:
        return Found(name, _load(name, file, source), digest, own=True)
    if (file, digest) not in _loaded:
        _loaded[file, digest] = _load(name, file, source)
    return Found(name, _loaded[file, digest], digest, own=True)


def _only_ours(path: Path) -> None:
    """What is run must not be writable by others than its owner, who is this process's user or root."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise BrokenStrategy(f"{path} is a link; put the file itself there")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or found.st_uid not in (0, os.geteuid()):
        raise BrokenStrategy(f"{path} can be changed by other users; chown it and run chmod go-w {path}")


def _load(name: str, file: Path, source: bytes) -> Strategy[Any]:
    """Run the file's code as a module of its own, which nothing can import by accident."""
    module_name = f"quantum_strategies.{name}"
    specification = importlib.util.spec_from_file_location(module_name, file)
    if specification is None:
        raise BrokenStrategy(f"{file} cannot be read as Python")
    module = importlib.util.module_from_spec(specification)
    sys.modules[module_name] = module  # dataclasses and pydantic look their module up
    try:
        exec(compile(source, str(file), "exec"), module.__dict__)  # noqa: S102 the bytes that were hashed, no others
    except Exception as error:  # The file is a user's: whatever it raises is told with its line.
        del sys.modules[module_name]
        raise BrokenStrategy(f"{file}, line {_line(error, file)}: {type(error).__name__}: {error}") from error
    found = getattr(module, "STRATEGY", None)
    if not isinstance(found, Strategy):
        raise BrokenStrategy(f"{file} has no STRATEGY = Strategy(parameters=..., targets=..., warm_up=...)")
    return found


def _line(error: Exception, file: Path) -> int | str:
    if isinstance(error, SyntaxError):
        return error.lineno or "?"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return lines[-1] if lines and lines[-1] is not None else "?"
