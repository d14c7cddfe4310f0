import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.hangs import bounded

from penstock.settings import Settings
from penstock.supervisor import reload


@pytest.fixture(autouse=True)
def hangs_fail() -> Iterator[None]:
    with bounded():
        yield


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("main.py", "page.html", "venv/pyvenv.cfg", "secret/x.py", "data.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    return tmp_path


def changes(settings: Settings, count: int, steps: list[str]) -> list[str]:
    """What is told while the files in `steps` are written one after the other, each when the last was told."""
    told: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        news: asyncio.Queue[str] = asyncio.Queue()
        watching = loop.create_task(reload.watch(reload.watcher_of(settings), 0.01, news.put_nowait))
        for number in range(count):
            for name in steps:
                Path(name).write_text(f"{number} {name}" * (number + 2))
            told.append(await news.get())
        watching.cancel()

    asyncio.run(main())
    return told


def test_what_has_changed_is_told_with_its_name(folder: Path) -> None:
    assert changes(Settings(reload=True), 1, ["main.py"]) == ["main.py changed"]


def test_several_files_that_are_saved_at_once_are_one_change(folder: Path) -> None:
    (told,) = changes(Settings(reload=True), 1, ["main.py", "data.py"])
    assert told == "data.py changed and 1 more"


def test_a_file_that_something_saves_again_and_again_is_named_with_the_way_out(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(changes(Settings(reload=True), 4, ["data.py"])) == 4 and caplog.text == ""
    changes(Settings(reload=True), 5, ["data.py"])
    assert "Reloaded 5 times within 10 s because of data.py; --reload-exclude leaves it out" in caplog.text


def scripted(looks: list[list[str] | Exception], count: int) -> list[str]:
    """What is told by a watcher that finds one of these at each look, and then nothing, until so much was."""
    told: list[str] = []

    def look() -> list[str]:
        found = looks.pop(0) if looks else []
        if isinstance(found, Exception):
            raise found
        return found

    async def main() -> None:
        news: asyncio.Queue[str] = asyncio.Queue()
        watcher: Any = SimpleNamespace(look=look)
        watching = asyncio.get_running_loop().create_task(reload.watch(watcher, 0.001, news.put_nowait))
        while len(told) < count:
            told.append(await news.get())
        watching.cancel()

    asyncio.run(main())
    return told


def test_a_look_that_fails_is_told_once_and_the_next_ones_are_taken(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    blind: list[list[str] | Exception] = [OSError("too many"), OSError("too many"), RuntimeError("can't start new thread")]
    assert scripted([*blind, ["main.py"], *blind, [], ["data.py"]], 2) == ["main.py changed", "data.py changed"]
    assert [record.getMessage() for record in caplog.records] == ["Cannot look which files have changed; it is tried again"] * 2
    assert caplog.text.count("OSError: too many") == 2


def test_where_no_thread_can_be_had_it_looks_when_one_can(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start, refused = threading.Thread.start, [1, 2, 3]

    def refuse(thread: threading.Thread) -> None:
        if refused:
            refused.pop()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert scripted([["main.py"]], 1) == ["main.py changed"] and refused == []


def test_a_folder_that_is_not_there_is_named(folder: Path) -> None:
    assert reload.missing_folder(Settings(reload_dirs=("secret",))) is None
    told = reload.missing_folder(Settings(reload_dirs=("secret", "missing")))
    assert told == f"Cannot watch {folder / 'missing'}: there is no such folder (--reload-dir)"
    assert reload.missing_folder(Settings(reload_dirs=("",))) == "Cannot watch '': there is no such folder (--reload-dir)"


def test_patterns_that_fit_nothing_are_told_in_one_line(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    reload.watcher_of(Settings(reload=True, reload_includes=("*.html", "*.htm"), reload_excludes=("secret", "tmp")))
    (record,) = caplog.records
    assert record.getMessage() == (
        "Nothing fits --reload-exclude tmp, --reload-include *.htm: no file or folder that is watched has such a name"
    )


def test_the_explanation_tells_each_file_and_why(folder: Path) -> None:
    settings = Settings(reload_includes=("*.html",), reload_excludes=("secret",), env_file="main.py")
    lines = list(reload.watcher_of(settings).explain())
    assert lines == [
        f"Below {folder}:",
        "  watched   data.py  (*.py)",
        "  watched   main.py  (--reload-include main.py)",
        "  watched   page.html  (--reload-include *.html)",
        "  left out  secret  (--reload-exclude secret)",
        "  left out  venv  (a virtual environment)",
        "And the files of all modules that the application loads, wherever they lie.",
    ]


def test_a_path_that_cannot_be_told_from_here_is_told_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> str:
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(os.path, "relpath", refuse)
    assert reload._short("D:/main.py") == "D:/main.py"


@pytest.mark.skipif(sys.platform == "win32", reason="no folder in which somebody is can go there")
def test_a_path_is_told_whole_when_the_folder_we_are_in_has_gone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert reload._short("/src/main.py") == "/src/main.py"
