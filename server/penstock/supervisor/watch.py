"""Which files have changed? Polled with the standard library alone, so it works on every file system.

Two kinds of look, because they cost differently. A folder's own time changes when something in it is made, deleted or
renamed: one `stat` a folder finds that, and only then is it listed again. A file that is written in place changes
nothing but itself. So each look takes all folders, and of the files those that the application has loaded or that
have changed before; of the others a share that keeps it within `BUDGET`. Every one of ten thousand has its turn within
some seconds.

Patterns without a slash are compared with a name, others with the path within the watched folder; one that fits a
folder holds for all below it.
"""

import importlib.util
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase

INCLUDED = ("*.py",)
EXCLUDED = (".*", ".py[cod]", ".sw.*", "~*")
NEVER = frozenset({".git", ".hg", ".svn", "__pycache__", "node_modules", ".venv", "venv", ".tox", ".mypy_cache"})
"""Folders that are left out whatever the patterns say; so are virtual environments of any name."""

BUDGET = 0.0005
"""Seconds that a look may spend on files that nobody has loaded."""

_FRESH_NS = 100_000_000
"""A folder listed so shortly after it has changed may change again without its time telling so."""

Stamp = tuple[int, int] | None


class Patterns:
    """Which files count. What the user excludes is out, what the user includes is in, then the defaults decide."""

    def __init__(self, includes: Sequence[str] = (), excludes: Sequence[str] = ()) -> None:
        self._includes = [_clean(each) for each in includes]
        self._excludes = [_clean(each) for each in excludes]

    def wants_file(self, name: str, path: str) -> bool:
        """Whether to watch the file `name`, at `path` below the watched folder (with slashes)."""
        if _fits(self._excludes, name, path):
            return False
        return _fits(self._includes, name, path) or (_fits(INCLUDED, name, path) and not _fits(EXCLUDED, name, path))

    def wants_folder(self, name: str, path: str) -> bool:
        """Whether to look into it at all."""
        if name in NEVER or _fits(self._excludes, name, path):
            return False
        return not _fits(EXCLUDED, name, path) or any(each.startswith(path + "/") for each in self._includes)


class Watcher:
    """Watches `folders` and all below them. The first look at everything is taken here and may take a while."""

    def __init__(self, folders: Iterable[str], patterns: Patterns) -> None:
        self._patterns = patterns
        self._roots = list(dict.fromkeys(os.path.abspath(each) for each in folders))
        self._folders: dict[str, Stamp] = {}
        """None is one that has to be listed at the next look, come what may."""
        self._entries: dict[str, set[str]] = {}
        self._files: dict[str, Stamp] = {}
        self._hot: set[str] = set()
        """Files that are looked at every time: those that the application has loaded, and those that have changed before."""
        self._rest: list[str] = []
        for root in self._roots:
            self._list(root)

    def note_loaded(self, paths: Iterable[str]) -> None:
        """These files the application has loaded: they are watched, wherever they lie, at every look."""
        for path in paths:
            if self._patterns.wants_file(os.path.basename(path), self._below(path)):
                self._hot.add(path)
                self._files.setdefault(path, _stamp(path))

    def look(self) -> list[str]:
        """The files that were made, written, renamed or deleted since the last look."""
        changed: set[str] = set()
        for folder, stamp in list(self._folders.items()):
            if stamp is None or _stamp(folder) != stamp:
                changed |= self._list(folder)
        changed.update(filter(self._has_changed, list(self._hot)))
        self._rest = self._rest or list(self._files)
        end = time.monotonic() + BUDGET
        while self._rest:
            share, self._rest = self._rest[-100:], self._rest[:-100]
            changed.update(path for path in share if path in self._files and self._has_changed(path))
            if time.monotonic() > end:
                break
        self._hot |= changed
        return sorted(changed)

    def _has_changed(self, path: str) -> bool:
        former, self._files[path] = self._files.get(path), _stamp(path)
        return self._files[path] != former

    def _list(self, folder: str) -> set[str]:
        """List a folder, and those that are new in it; the files that have changed in it, come or gone since the last time."""
        stamp, now_ns = _stamp(folder), time.time_ns()
        try:
            with os.scandir(folder) as entries:
                found = {each.path: each.is_dir() for each in entries if self._wants(each)}
        except OSError:
            return self._forget(folder)
        self._folders[folder] = stamp if stamp is not None and now_ns - stamp[0] > _FRESH_NS else None
        before, self._entries[folder] = self._entries.get(folder, set()), set(found)
        changed = {path for path, is_folder in found.items() if not is_folder and self._has_changed(path)}
        for path in found.keys() - before:
            changed |= self._list(path) if found[path] else set()
        for path in before - found.keys():
            changed |= self._forget(path)
        return changed

    def _forget(self, path: str) -> set[str]:
        """It is gone, and what was below it."""
        self._folders.pop(path, None)
        if path in self._roots:
            # Perhaps for a moment only.
            self._folders[path] = None
        gone = {path} if self._files.pop(path, None) is not None else set()
        for each in self._entries.pop(path, ()):
            gone |= self._forget(each)
        return gone

    def _wants(self, entry: "os.DirEntry[str]") -> bool:
        below = self._below(entry.path)
        try:
            # Links to folders are not followed: they may lead around in circles.
            if not entry.is_dir():
                return self._patterns.wants_file(entry.name, below)
            is_environment = os.path.exists(os.path.join(entry.path, "pyvenv.cfg"))
            return self._patterns.wants_folder(entry.name, below) and not entry.is_symlink() and not is_environment
        except OSError:
            return False

    def _below(self, path: str) -> str:
        """The path within the watched folder, with slashes; for others the whole path."""
        for root in self._roots:
            if path.startswith(root + os.sep):
                path = path[len(root) + 1 :]
                break
        return path.replace(os.sep, "/")


def forget_bytecode(path: str) -> None:
    """A file saved twice in a second, of the same length, is the same to the compiled file beside it: delete that."""
    with suppress(OSError, NotImplementedError):
        os.unlink(importlib.util.cache_from_source(path))


def _stamp(path: str) -> Stamp:
    """What changes when a file does; None when it cannot be seen."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _clean(pattern: str) -> str:
    pattern = os.path.relpath(pattern) if os.path.isabs(pattern) else pattern
    return pattern.replace(os.sep, "/").removeprefix("./").removeprefix("**/").rstrip("/") or pattern


def _fits(patterns: Iterable[str], name: str, path: str) -> bool:
    for each in patterns:
        # Two stars stand for no folder, too.
        if fnmatchcase(path if "/" in each else name, each) or fnmatchcase(path, each.replace("/**/", "/")):
            return True
    return False
