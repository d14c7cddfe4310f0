"""From saved files to a new generation: what `--reload` watches, when a change is over, and what is said of it.

`watch.py` knows which files have changed; here it is asked again and again, in a thread, because a disk may be slow.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ..settings import Settings
from .watch import OFTEN, SOON, Habit, Patterns, Watcher, forget_bytecode

_SETTLING = 0.05
"""Seconds without a change after which what was being saved is saved."""

_log = logging.getLogger("penstock.error")


def missing_folder(settings: Settings) -> str | None:
    """What is wrong with the folders to watch, if anything is."""
    # The whole path of nothing would be that of the current folder, which is there.
    missing = [os.path.abspath(folder) if folder else "''" for folder in settings.reload_dirs if not os.path.isdir(folder)]
    return f"Cannot watch {missing[0]}: there is no such folder (--reload-dir)" if missing else None


def watcher_of(settings: Settings) -> Watcher:
    """The watcher that the settings ask for; it has taken its first look."""
    env_files = [settings.env_file] if settings.env_file is not None else []
    patterns = Patterns((*settings.reload_includes, *map(os.path.basename, env_files)), settings.reload_excludes)
    watcher = Watcher(settings.reload_dirs or [os.getcwd()], patterns)
    watcher.note_loaded(map(os.path.abspath, env_files))
    if unused := sorted(patterns.unused):
        _log.warning("Nothing fits %s: no file or folder that is watched has such a name", ", ".join(unused))
    return watcher


async def watch(watcher: Watcher, delay: float, on_change: Callable[[str], None]) -> None:
    """Tell `on_change` what has changed, whenever files have and nothing changes any more. Never ends."""
    loop, habit, is_blind = asyncio.get_running_loop(), Habit(), False
    changed: list[str] = []
    # One thread, for a look that could have none is taken later all the same; what it finds must not be lost.
    pool = ThreadPoolExecutor(1)
    while True:
        await asyncio.sleep(_SETTLING if changed else delay)
        try:
            known = len(changed)
            await loop.run_in_executor(pool, lambda: changed.extend(watcher.look()))
            if changed and len(changed) == known:
                paths, changed = sorted({*changed}), []
                for path in paths:
                    forget_bytecode(path)
                name = _short(paths[0])
                on_change(f"{name} changed" + (f" and {len(paths) - 1} more" if len(paths) > 1 else ""))
                if habit.is_new(loop.time()):
                    _log.warning("Reloaded %d times within %.0f s because of %s; --reload-exclude leaves it out", OFTEN, SOON, name)
            is_blind = False
        except Exception:
            # No file, no thread to be had: whatever it is, a later look may go well. Looks are many, and one word is enough.
            level, is_blind = logging.DEBUG if is_blind else logging.ERROR, True
            _log.log(level, "Cannot look which files have changed; it is tried again", exc_info=True)


def _short(path: str) -> str:
    """From here, if that is a way: on Windows there is none to another drive, and where we are may be gone."""
    try:
        return os.path.relpath(path)
    except (ValueError, FileNotFoundError):
        return path
