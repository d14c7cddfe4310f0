import os
import time
from pathlib import Path

import pytest

from penstock.supervisor import watch
from penstock.supervisor.watch import Patterns, Watcher, forget_bytecode

LONG_AGO = time.time() - 1000


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Some files, all old, so that only what a test does is new."""
    for name in ("main.py", "page.html", "pack/part.py", "pack/deep/more.py", "venv/lib.py", ".git/hook.py",
                 "node_modules/x.py", "__pycache__/main.py", ".hidden/x.py", "env/lib/site.py", ".env", "env/pyvenv.cfg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    for path in [*tmp_path.rglob("*"), tmp_path]:
        os.utime(path, (LONG_AGO, LONG_AGO))
    return tmp_path


def watching(tree: Path, includes: tuple[str, ...] = (), excludes: tuple[str, ...] = ()) -> Watcher:
    watcher = Watcher([str(tree)], Patterns(includes, excludes))
    assert watcher.look() == []
    return watcher


def names(tree: Path, found: list[str]) -> list[str]:
    return [Path(path).relative_to(tree).as_posix() for path in found]


def test_nothing_has_changed(tree: Path) -> None:
    watcher = watching(tree)
    assert watcher.look() == watcher.look() == []


def test_a_file_that_is_written_in_place_has_changed_once(tree: Path) -> None:
    watcher = watching(tree)
    (tree / "pack" / "part.py").write_text("22")
    assert names(tree, watcher.look()) == ["pack/part.py"]
    assert watcher.look() == []


def test_the_time_alone_is_a_change_too(tree: Path) -> None:
    watcher = watching(tree)
    os.utime(tree / "main.py")
    assert names(tree, watcher.look()) == ["main.py"]


def test_another_file_of_the_same_time_and_size_is_a_change_too(tree: Path) -> None:
    """As `cp -p --remove-destination` and `rsync -a -c` leave one."""
    watcher = watching(tree)
    (tree / "new").write_text("2")
    os.utime(tree / "new", (LONG_AGO, LONG_AGO))
    os.replace(tree / "new", tree / "main.py")
    assert (tree / "main.py").stat().st_mtime_ns == (tree / "page.html").stat().st_mtime_ns
    assert names(tree, watcher.look()) == ["main.py"]
    assert watcher.look() == []


def test_new_deleted_and_renamed_files_have_changed(tree: Path) -> None:
    watcher = watching(tree)
    (tree / "pack" / "new.py").write_text("1")
    assert names(tree, watcher.look()) == ["pack/new.py"]
    (tree / "main.py").unlink()
    assert names(tree, watcher.look()) == ["main.py"]
    os.rename(tree / "pack" / "new.py", tree / "pack" / "newer.py")
    assert names(tree, watcher.look()) == ["pack/new.py", "pack/newer.py"]
    assert watcher.look() == []


def test_a_file_that_is_replaced_by_another_has_changed(tree: Path) -> None:
    watcher = watching(tree)
    (tree / "main.py.tmp").write_text("2")
    os.replace(tree / "main.py.tmp", tree / "main.py")
    assert names(tree, watcher.look()) == ["main.py"]


def test_new_folders_are_watched_and_deleted_ones_are_not_missed(tree: Path) -> None:
    watcher = watching(tree)
    (tree / "a" / "b").mkdir(parents=True)
    assert watcher.look() == []
    (tree / "a" / "b" / "c.py").write_text("1")
    assert names(tree, watcher.look()) == ["a/b/c.py"]
    os.rename(tree / "a", tree / "z")
    assert names(tree, watcher.look()) == ["a/b/c.py", "z/b/c.py"]
    (tree / "z" / "b" / "c.py").unlink()
    (tree / "z" / "b").rmdir()
    assert names(tree, watcher.look()) == ["z/b/c.py"]
    (tree / "z" / "b").mkdir()
    (tree / "z" / "b" / "c.py").write_text("1")
    assert names(tree, watcher.look()) == ["z/b/c.py"]


def test_a_folder_that_changes_again_at_once_is_listed_again(tree: Path) -> None:
    """Its time may be the same for several changes."""
    watcher = watching(tree)
    for number in range(20):
        (tree / f"quick{number}.py").write_text("1")
        assert names(tree, watcher.look()) == [f"quick{number}.py"]


@pytest.mark.parametrize("name", [
    "venv/lib.py", ".git/hook.py", "node_modules/x.py", "__pycache__/main.py", ".hidden/x.py", "env/lib/site.py", "page.html",
    ".env", ".#main.py", "main.pyc", "~main.py",
])
def test_what_is_no_code_of_the_users_is_left_out(name: str, tree: Path) -> None:
    watcher = watching(tree)
    (tree / name).write_text("changed")
    assert watcher.look() == []


@pytest.mark.parametrize("pattern, name", [
    ("*.html", "page.html"), ("page.*", "page.html"), ("pack/*.txt", "pack/x.txt"), ("**/*.txt", "pack/deep/x.txt"),
    ("**/*.txt", "x.txt"), ("pack/**/x.txt", "pack/x.txt"), ("pack/**/x.txt", "pack/deep/x.txt"), ("./pack/*.txt", "pack/x.txt"),
    (".env", ".env"), (".hidden/*.py", ".hidden/x.py"), (".*", ".env"),
])
def test_what_is_included_is_watched_also_against_the_defaults(pattern: str, name: str, tree: Path) -> None:
    watcher = watching(tree, (pattern,))
    (tree / name).write_text("changed")
    assert names(tree, watcher.look()) == [name]


@pytest.mark.parametrize("pattern, name", [
    ("main.py", "main.py"), ("*.py", "pack/part.py"), ("pack", "pack/part.py"), ("pack/", "pack/deep/more.py"),
    ("pack/deep", "pack/deep/more.py"), ("pack/*.py", "pack/part.py"), ("./pack", "pack/part.py"), ("**/deep", "pack/deep/more.py"),
    ("*.html", "page.html"),
])
def test_what_is_excluded_is_not_watched_whatever_is_included(pattern: str, name: str, tree: Path) -> None:
    watcher = watching(tree, ("*.html", "*.py", "pack/*"), (pattern,))
    watcher.note_loaded([str(tree / name)] if name.endswith(".py") and "/" not in name else [])
    (tree / name).write_text("changed")
    assert watcher.look() == []


def test_a_pattern_may_be_a_whole_path(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    watcher = watching(tree, excludes=(str(tree / "pack"),))
    (tree / "pack" / "part.py").write_text("changed")
    assert watcher.look() == []


def test_a_loaded_file_is_watched_wherever_it_lies(tree: Path) -> None:
    watcher = Watcher([str(tree / "pack")], Patterns())
    watcher.note_loaded([str(tree / "main.py")])
    assert watcher.look() == []
    (tree / "main.py").write_text("22")
    assert names(tree, watcher.look()) == ["main.py"]
    (tree / "main.py").unlink()
    assert names(tree, watcher.look()) == ["main.py"]
    assert watcher.look() == []
    (tree / "main.py").write_text("333")
    assert names(tree, watcher.look()) == ["main.py"]


def test_a_change_between_the_first_look_and_the_news_that_it_is_loaded_is_not_missed(tree: Path) -> None:
    watcher = watching(tree)
    (tree / "main.py").write_text("22")
    watcher.note_loaded([str(tree / "main.py")])
    assert names(tree, watcher.look()) == ["main.py"]


def test_several_folders_are_watched_also_one_within_another(tree: Path) -> None:
    watcher = Watcher([str(tree / "pack"), str(tree / "pack" / "deep"), str(tree / "pack")], Patterns())
    assert watcher.look() == []
    (tree / "pack" / "deep" / "more.py").write_text("22")
    assert names(tree, watcher.look()) == ["pack/deep/more.py"]


def test_a_watched_folder_may_be_gone_for_a_moment(tree: Path) -> None:
    watcher = watching(tree)
    os.rename(tree, tree.with_name("elsewhere"))
    assert "main.py" in names(tree, watcher.look())
    assert watcher.look() == []
    os.rename(tree.with_name("elsewhere"), tree)
    assert "main.py" in names(tree, watcher.look())


def test_links_to_folders_are_not_followed(tree: Path) -> None:
    (tree / "pack" / "around").symlink_to(tree)
    watcher = watching(tree)
    (tree / "main.py").write_text("22")
    assert names(tree, watcher.look()) == ["main.py"]


def test_of_many_files_every_look_takes_the_loaded_ones_and_a_share_of_the_others(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(500):
        (tree / f"f{number}.py").write_text("1")
        os.utime(tree / f"f{number}.py", (LONG_AGO, LONG_AGO))
    os.utime(tree, (LONG_AGO, LONG_AGO))
    watcher = watching(tree)
    watcher.note_loaded([str(tree / "f7.py")])
    stamps: list[str] = []
    real = watch._stamp

    def stamp(path: str) -> watch.Stamp:
        stamps.append(path)
        return real(path)

    monkeypatch.setattr(watch, "_stamp", stamp)
    monkeypatch.setattr(watch, "BUDGET", 1e-6)
    watcher.look()
    assert len(stamps) < 200
    for _ in range(12):
        assert str(tree / "f7.py") in stamps
        watcher.look()
    assert {str(tree / f"f{number}.py") for number in range(500)} <= set(stamps)


def test_of_many_folders_every_look_takes_those_of_loaded_files_and_a_share_of_the_others(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        (tree / f"d{number}").mkdir()
        os.utime(tree / f"d{number}", (LONG_AGO, LONG_AGO))
    os.utime(tree, (LONG_AGO, LONG_AGO))
    watcher = watching(tree)
    watcher.note_loaded([str(tree / "pack" / "part.py")])
    monkeypatch.setattr(watch, "BUDGET", 1e-6)
    assert watcher.look() == []
    (tree / "pack" / "new.py").write_text("1")
    assert names(tree, watcher.look()) == ["pack/new.py"]
    (tree / "d200" / "other.py").write_text("1")
    looks = [names(tree, watcher.look()) for _ in range(14)]
    assert looks.count(["d200/other.py"]) == 1 and looks.count([]) == 13
    stamps: set[str] = set()
    real = watch._stamp
    monkeypatch.setattr(watch, "_stamp", lambda path: real(noted(stamps, path)))
    watcher.look()
    assert len(stamps) < 120


def test_a_file_saved_twice_in_a_second_is_not_taken_from_its_compiled_file(tree: Path) -> None:
    import importlib.util
    import py_compile

    compiled = Path(importlib.util.cache_from_source(str(tree / "main.py")))
    py_compile.compile(str(tree / "main.py"))
    assert compiled.exists()
    forget_bytecode(str(tree / "main.py"))
    forget_bytecode(str(tree / "main.py"))
    assert not compiled.exists()


def noted(stamps: set[str], path: str) -> str:
    stamps.add(path)
    return path
