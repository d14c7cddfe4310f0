import os
from pathlib import Path

import pytest

from penstock.asgi.spec import ApplicationError, Spec, read


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("main.py", "plain/main.py", "plain/other.py", "shop/__init__.py", "shop/web/__init__.py", "shop/web/main.py",
                 "my.app.py", "notes.txt", "a.b/__init__.py", "a.b/main.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("text, module, attribute", [
    ("main", "main", ""), ("main:", "main", ""), ("main:app", "main", "app"), ("shop.web.main:site.api", "shop.web.main", "site.api"),
    ("my-app:app", "my-app", "app"),
])
def test_a_module_is_a_module(text: str, module: str, attribute: str) -> None:
    assert read(text) == Spec(module, attribute)


@pytest.mark.parametrize("text", ["", ":app", ".main:app", "a..b", ":", "main.:app"])
def test_what_names_no_module_is_explained(text: str) -> None:
    with pytest.raises(ApplicationError) as caught:
        read(text)
    assert str(caught.value) == f'"{text}" does not name a module; write MODULE:ATTR, for example main:app'


@pytest.mark.parametrize("text, module, attribute, below", [
    ("main.py", "main", "", ""), ("./main.py:app", "main", "app", ""), ("main.py:site.api", "main", "site.api", ""),
    ("plain/main.py", "main", "", "plain"), ("shop/web/main.py:app", "shop.web.main", "app", ""), ("shop/web", "shop.web", "", ""),
    ("shop/", "shop", "", ""), ("./shop:app", "shop", "app", ""), ("shop/__init__.py", "shop", "", ""),
])
def test_a_path_is_the_module_that_python_would_know_it_as(text: str, module: str, attribute: str, below: str, folder: Path) -> None:
    found = read(text)
    assert (found.module, found.attribute) == (module, attribute)
    assert found.folder == str(folder / below).rstrip(os.sep)
    assert found.file is not None and os.path.isfile(found.file)


def test_a_path_may_be_absolute(folder: Path) -> None:
    assert read(f"{folder / 'main.py'}:app") == Spec("main", "app", str(folder), str(folder / "main.py"))


@pytest.mark.parametrize("text, told", [
    ("mian.py:app", "There is no file mian.py; did you mean main.py?"), ("plain/man", "There is no file plain/man; did you mean plain/main.py?"),
    ("shop/web/main:app", "There is no file shop/web/main; did you mean shop/web/main.py?"),
    ("none/main.py", "There is no file none/main.py"), ("zzz.py", "There is no file zzz.py"),
    ("plain/:app", "plain/ is a folder, and no package; name a file in it: main.py, other.py"),
    ("./empty", "./empty is a folder, and no package; name a file in it"),
    ("my.app.py", "my.app.py cannot be imported: its name must end in .py"), ("./notes.txt", "cannot be imported: its name must"),
    ("a.b/main.py", "nor those of its packages"),
])
def test_a_path_that_leads_nowhere_is_explained(text: str, told: str) -> None:
    with pytest.raises(ApplicationError) as caught:
        read(text)
    assert told in str(caught.value)


def test_a_drive_is_no_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sep", "\\")
    for text in ("C:\\site\\main.py", "C:\\site\\main.py:app"):
        with pytest.raises(ApplicationError, match=r"There is no file C:\\site\\main\.py"):
            read(text)
