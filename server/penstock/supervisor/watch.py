"""Which files have changed? Polled with the standard library alone, so it works on every file system.

A folder's own time changes when something in it is made, deleted or renamed: one `stat` a folder finds that, and only
then is it listed again. A file that is written in place changes nothing but itself. Each look takes the files that the
application has loaded or that have changed before, and their folders. All others come in turns, as many as `BUDGET`
allows: a thousand folders within a second, ten thousand files within ten. So a look costs the same in any tree.

Patterns without a slash are compared with a name, others with the path within the watched folder; one that fits a
folder holds for all below it.
"""

import importlib.util
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from itertools import chain

INCLUDED = {"*.py": "*.py"}
EXCLUDED = {each: f"left out are {each}" for each in (".*", ".py[cod]", ".sw.*", "~*")}
NEVER = frozenset({".git", ".hg", ".svn", "__pycache__", "node_modules", ".venv", "venv", ".tox", ".mypy_cache"})
"""Folders that are left out whatever the patterns say; so are virtual environments of any name."""

BUDGET = 0.0005
"""Seconds that a look may spend on folders, and again on files, of which nothing is loaded."""

OFTEN, SOON = 5, 10.0
"""So many reloads within so many seconds are no work of human hands."""

_FRESH_NS = 100_000_000
"""A folder listed so shortly after it has changed may change again without its time telling so."""

Stamp = tuple[int, int, int] | None


class Patterns:
    """Which files count. What the user excludes is out, what the user includes is in, then the defaults decide."""

    def __init__(self, includes: Sequence[str] = (), excludes: Sequence[str] = ()) -> None:
        self._includes = {_clean(each): f"--reload-include {each}" for each in includes}
        self._excludes = {_clean(each): f"--reload-exclude {each}" for each in excludes}
        self.unused = {*self._includes.values(), *self._excludes.values()}
        """Those of the user's that have fitted nothing yet."""

    def judge_file(self, name: str, path: str) -> tuple[bool, str]:
        """Whether to watch the file `name`, at `path` below the watched folder (with slashes), and why or why not."""
        for wants, patterns in ((False, self._excludes), (True, self._includes), (False, EXCLUDED), (True, INCLUDED)):
            if reason := _fitting(patterns, name, path):
                self.unused.discard(reason)
                return wants, reason
        return False, ""

    def judge_folder(self, name: str, path: str) -> tuple[bool, str]:
        """Whether to look into it at all, and why not."""
        if reason := _fitting(self._excludes, name, path):
            self.unused.discard(reason)
            return False, reason
        is_named = any(each.startswith(path + "/") for each in self._includes)
        reason = name if name in NEVER else "" if is_named else _fitting(EXCLUDED, name, path)
        return not reason, reason


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
        self._hot_folders: set[str] = set()
        """Looked at every time: files that the application has loaded or that have changed before, and their folders."""
        self._unsettled: set[str] = set()
        self._folders_in_turn: list[str] = []
        self._files_in_turn: list[str] = []
        for root in self._roots:
            self._list(root)

    def note_loaded(self, paths: Iterable[str]) -> None:
        """These files the application has loaded: they are watched, wherever they lie, at every look."""
        for path in paths:
            if self._patterns.judge_file(os.path.basename(path), self._below(path))[0]:
                self._hot.add(path)
                self._hot_folders.add(os.path.dirname(path))
                self._files.setdefault(path, _stamp(path))

    def explain(self) -> Iterator[str]:
        """What is watched and why, line by line; and what is left out that a user may miss."""
        yield from (f"Below {root}:" for root in self._roots)
        for folder in sorted(self._folders):
            with suppress(OSError), os.scandir(folder) as entries:
                for each in sorted(entries, key=lambda each: each.name):
                    wants, reason = self._judge(each)
                    if reason:
                        yield f"  {'watched' if wants else 'left out':8}  {self._below(each.path)}  ({reason})"
        yield "And the files of all modules that the application loads, wherever they lie."

    def look(self) -> list[str]:
        """The files that were made, written, renamed or deleted since the last look."""
        changed: set[str] = set()
        for folder in chain(self._hot_folders | self._unsettled, _in_turn(self._folders_in_turn, self._folders)):
            if folder in self._folders and (folder in self._unsettled or _stamp(folder) != self._folders[folder]):
                changed |= self._list(folder)
        changed.update(filter(self._has_changed, chain(list(self._hot), _in_turn(self._files_in_turn, self._files))))
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
                found = {each.path: each.is_dir() for each in entries if self._judge(each)[0]}
        except OSError:
            return self._forget(folder)
        self._settle(folder, stamp if stamp is not None and now_ns - stamp[0] > _FRESH_NS else None)
        before, self._entries[folder] = self._entries.get(folder, set()), set(found)
        changed = {path for path, is_folder in found.items() if not is_folder and self._has_changed(path)}
        for path in found.keys() - before:
            changed |= self._list(path) if found[path] else set()
        for path in before - found.keys():
            changed |= self._forget(path)
        return changed

    def _settle(self, folder: str, stamp: Stamp) -> None:
        self._folders[folder] = stamp
        (self._unsettled.add if stamp is None else self._unsettled.discard)(folder)

    def _forget(self, path: str) -> set[str]:
        """It is gone, and what was below it."""
        self._folders.pop(path, None)
        self._unsettled.discard(path)
        if path in self._roots:
            # Perhaps for a moment only.
            self._settle(path, None)
        gone = {path} if self._files.pop(path, None) is not None else set()
        for each in self._entries.pop(path, ()):
            gone |= self._forget(each)
        return gone

    def _judge(self, entry: "os.DirEntry[str]") -> tuple[bool, str]:
        below = self._below(entry.path)
        try:
            if not entry.is_dir():
                return self._patterns.judge_file(entry.name, below)
            # Links may lead around in circles.
            is_environment = os.path.exists(os.path.join(entry.path, "pyvenv.cfg"))
            reason = "a virtual environment" if is_environment else "a link" if entry.is_symlink() else ""
            return (False, reason) if reason else self._patterns.judge_folder(entry.name, below)
        except OSError as error:
            return False, str(error)

    def _below(self, path: str) -> str:
        """The path within the watched folder, with slashes; for others the whole path."""
        for root in self._roots:
            if path.startswith(root + os.sep):
                path = path[len(root) + 1 :]
                break
        return path.replace(os.sep, "/")


class Habit:
    """Notices when something saves a file again and again."""

    def __init__(self) -> None:
        self._reloads: list[float] = []

    def is_new(self, now: float) -> bool:
        """Note a reload; True for one that makes it `OFTEN` within `SOON`. Then it begins to count anew."""
        self._reloads = [*(each for each in self._reloads if now - each < SOON), now]
        is_often = len(self._reloads) >= OFTEN
        self._reloads = [] if is_often else self._reloads
        return is_often


def _in_turn(waiting: list[str], everything: Iterable[str]) -> Iterator[str]:
    """As many as the time of one look allows to be seen; each of `everything` has its turn, sooner or later."""
    waiting[:] = waiting or everything
    # Not `monotonic`, which moves in steps of 16 ms on some Windows.
    end = time.perf_counter() + BUDGET
    while waiting:
        share, waiting[-50:] = waiting[-50:], []
        yield from share
        if time.perf_counter() > end:
            break


def forget_bytecode(path: str) -> None:
    """A file saved twice in a second, of the same length, is the same to the compiled file beside it: delete that."""
    with suppress(OSError, NotImplementedError):
        os.unlink(importlib.util.cache_from_source(path))


def _stamp(path: str) -> Stamp:
    """What changes when a file does; None when it cannot be seen."""
    with suppress(OSError):
        status = os.stat(path)
        # The inode, for another file may be put in its place with time and size of the first. Where there are none it is 0.
        return status.st_mtime_ns, status.st_size, status.st_ino
    return None


def _clean(pattern: str) -> str:
    pattern = os.path.relpath(pattern) if os.path.isabs(pattern) else pattern
    return pattern.replace(os.sep, "/").removeprefix("./").removeprefix("**/").rstrip("/") or pattern


def _fitting(patterns: Mapping[str, str], name: str, path: str) -> str:
    """What is said of the first pattern that fits; nothing when none does."""
    for each, reason in patterns.items():
        # Two stars stand for no folder, too.
        if fnmatchcase(path if "/" in each else name, each) or fnmatchcase(path, each.replace("/**/", "/")):
            return reason
    return ""
