import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock.asgi.application import ApplicationError, load, made_by

Write = Callable[..., None]

APPS = """
import functools

async def app(scope, receive, send): pass

class Site:
    async def __call__(self, scope, receive, send): pass
    site = 1

site = Site()

def create_app(): return app
def create_nothing(): pass
def create_badly(): return 1 / 0
def create_from(name): return app
def leave(): raise SystemExit(4)
async def create_later(): return app

def wsgi(environ, start_response): pass
def four(one, two, three, four): pass
class Legacy:
    def __init__(self, scope): pass

@functools.wraps(create_app)
async def wrapped(*arguments): pass

_hidden = app
settings = {"a": 1}
text = "app"
missing = None
"""


@pytest.fixture(autouse=True)
def imports_as_they_were() -> Iterator[None]:
    path, known = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - known:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(name: str, text: str = "") -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    return write_file


@pytest.fixture
def apps(write: Write) -> None:
    write("apps.py", APPS)


def failure(spec: str, folder: Path | None, factory: bool = False) -> str:
    with pytest.raises(ApplicationError) as caught:
        load(spec, app_dir=None if folder is None else str(folder), factory=factory)
    # Nothing of ours is to be seen, wherever the message is printed.
    assert "asgi/application.py" not in str(caught.value) and "importlib" not in str(caught.value)
    assert caught.value.__suppress_context__
    return str(caught.value)


@pytest.mark.usefixtures("apps")
@pytest.mark.parametrize("spec, factory, name", [
    ("apps", False, "app"), ("apps:app", False, "app"), ("apps:site", False, "site"),
    ("apps:create_app", True, "app"), ("apps:wrapped", False, "wrapped"), ("apps:site.__call__", False, "site"),
])
def test_an_application_is_found(spec: str, factory: bool, name: str, tmp_path: Path) -> None:
    found = load(spec, app_dir=str(tmp_path), factory=factory)
    expected = getattr(sys.modules["apps"], name)
    assert getattr(found, "__self__", found) is expected


@pytest.mark.usefixtures("apps")
def test_the_folder_comes_first_on_the_import_path_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load("apps", app_dir=str(tmp_path), factory=False)
    monkeypatch.chdir(tmp_path)
    load("apps", app_dir="", factory=False)
    assert sys.path[0] == str(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1


def test_without_a_folder_the_import_path_stays_as_it_is() -> None:
    before = list(sys.path)
    assert failure("there_is_none:app", None) == 'There is no module "there_is_none" on the import path'
    assert sys.path == before


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path / 'nowhere'}, does not exist" in failure("apps", tmp_path / "nowhere")
    (tmp_path / "file").touch()
    assert f"{tmp_path / 'file'}, is a file" in failure("apps", tmp_path / "file")


def test_a_file_is_imported_as_the_module_that_it_is(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("src/shop/__init__.py")
    write("src/shop/web/__init__.py")
    write("src/shop/web/main.py", "from ..parts import app as app\nother = app")
    write("src/shop/parts.py", "async def app(scope, receive, send): pass")
    monkeypatch.chdir(tmp_path)
    found = load("src/shop/web/main.py", app_dir="", factory=False)
    assert found is sys.modules["shop.parts"].app and "shop.web.main" in sys.modules
    assert sys.path[0] == str(tmp_path / "src") and str(tmp_path) in sys.path
    assert load("src/shop/web/main.py:other", app_dir="", factory=False) is found


def test_a_file_whose_name_is_taken_is_told_so(tmp_path: Path, write: Write) -> None:
    write("json.py")
    assert failure(str(tmp_path / "json.py"), tmp_path) == (
        f'{tmp_path / "json.py"} cannot be imported as "json": that is {sys.modules["json"].__file__}; give it another name'
    )
    write("sys.py")
    assert '"sys": that is built in; give' in failure(str(tmp_path / "sys.py"), tmp_path)


@pytest.mark.parametrize("source", [
    "def application(environ, start_response): pass\ndef two(a, b): pass", "async def application(scope, receive, send): pass",
    "class Site:\n    def __call__(self, environ, start_response): pass\napplication = Site()",
])
def test_an_application_of_another_name_is_proposed(source: str, tmp_path: Path, write: Write) -> None:
    write("main.py", source)
    assert failure("main", tmp_path).endswith("; what looks like an application there: application")


def test_a_module_that_does_not_exist_is_named_with_the_folder_and_what_is_near(tmp_path: Path, write: Write) -> None:
    assert failure("mian:app", tmp_path) == (
        f'There is no module "mian" in {tmp_path}, nor on the rest of the import path'
    )
    write("main.py")
    assert failure("mian:app", tmp_path) == f'There is no module "mian" in {tmp_path}; did you mean main?'
    write("shop/__init__.py")
    write("shop/main.py")
    write("notes.txt")
    write("no-module.py")
    assert failure("zzz:app", tmp_path) == f'There is no module "zzz" in {tmp_path}; modules there: main, shop'
    assert failure("shop.mian:app", tmp_path) == (
        f'There is no module "shop.mian" in {tmp_path / "shop"}; did you mean shop.main?'
    )


def test_a_package_that_does_not_exist_is_what_is_named(tmp_path: Path, write: Write) -> None:
    write("shop/__init__.py")
    assert failure("shp.main:app", tmp_path) == (
        f'There is no module "shp" (of shp.main) in {tmp_path}; did you mean shop?'
    )


@pytest.mark.usefixtures("apps")
def test_a_dot_for_the_colon_is_guessed(tmp_path: Path) -> None:
    assert failure("apps.site", tmp_path) == 'apps is a module, not a package; did you mean "apps:site"?'


def test_a_module_that_misses_another_is_told_apart_from_a_missing_one(tmp_path: Path, write: Write) -> None:
    write("main.py", "import fastapy\n")
    text = failure("main:app", tmp_path)
    assert text.startswith(f'main imports "fastapy", which does not exist in this Python ({sys.executable}).\n')
    assert f'File "{tmp_path / "main.py"}", line 1, in <module>\n    import fastapy' in text
    write("shop/__init__.py", "import shop.main\n")
    write("shop/main.py", "import shop.mian\n")
    assert failure("shop.main:app", tmp_path).startswith('shop.main imports "shop.mian"')


@pytest.mark.parametrize("source, last_lines", [
    ("def f():\n    return 1 / 0\nf()\n", ["line 2, in f", "    return 1 / 0", "ZeroDivisionError: division by zero"]),
    ("x = (\n", ["line 1", "    x = (", "SyntaxError: '(' was never closed"]),
    ("raise Exception('odd')\n", ["line 1, in <module>", "Exception: odd"]),
])
def test_an_application_that_fails_while_importing_shows_the_users_lines(
    source: str, last_lines: list[str], tmp_path: Path, write: Write
) -> None:
    write("main.py", source)
    text = failure("main:app", tmp_path)
    assert text.startswith("main failed while it was imported.\n")
    position = 0
    for line in last_lines:
        position = text.index(line, position)
    assert text.endswith(last_lines[-1])
    # The first line of code that is shown is the user's.
    assert text.split('File "')[1].startswith(str(tmp_path))


def test_an_application_that_ends_the_program_while_importing_is_told(tmp_path: Path, write: Write) -> None:
    write("main.py", "import sys\nsys.exit(4)\n")
    text = failure("main:app", tmp_path)
    assert text.startswith("main ended the program (exit code 4) while it was imported.\n")
    assert "    sys.exit(4)" in text


def test_an_interrupt_while_importing_is_not_held_up(tmp_path: Path, write: Write) -> None:
    write("main.py", "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load("main", app_dir=str(tmp_path), factory=False)


@pytest.mark.usefixtures("apps")
def test_an_attribute_that_does_not_exist_is_named_with_those_that_look_like_applications(tmp_path: Path) -> None:
    where = tmp_path / "apps.py"
    assert failure("apps:api", tmp_path) == (
        f'apps ({where}) has no "api"; what looks like an application there: app, site, wsgi, wrapped'
    )
    assert failure("apps:site.sit", tmp_path) == 'apps:site has no "sit"; nothing there looks like an application'


@pytest.mark.parametrize("source, told", [
    ("def make(): pass\n", "perhaps penstock --factory main:make"),
    ("from os import getcwd\nap = 1\n", "did you mean ap?"),
    ("from asyncio import start_server\n", "nothing there looks like an application"),
])
def test_where_nothing_looks_like_an_application_the_next_best_is_told(
    source: str, told: str, tmp_path: Path, write: Write
) -> None:
    write("main.py", source)
    assert failure("main", tmp_path) == (
        f'main ({tmp_path / "main.py"}) has no "app", which is looked for when only a module is named; {told}'
    )


def test_an_attribute_that_raises_when_it_is_read_is_a_failure_with_its_line(tmp_path: Path, write: Write) -> None:
    write("main.py", "def __getattr__(name): return 1 / 0\n")
    text = failure("main:app", tmp_path)
    assert text.startswith('Reading "app" of main failed.\n') and text.endswith("ZeroDivisionError: division by zero")


def test_a_folder_found_in_place_of_a_module_is_called_a_folder(tmp_path: Path, write: Write) -> None:
    write("backend/main.py")
    text = failure("backend:app", tmp_path)
    assert text.startswith(f'"backend" is a folder here, not a module: {tmp_path / "backend"}.')
    assert "There is no backend.py beside it" in text
    assert "Modules in it: backend.main." in text
    assert text.endswith("If backend.py is in another folder, name that with --app-dir.")


def test_an_empty_folder_is_called_a_folder_too(tmp_path: Path) -> None:
    (tmp_path / "backend").mkdir()
    assert "Modules in it" not in failure("backend:app", tmp_path)


@pytest.mark.usefixtures("apps")
@pytest.mark.parametrize("name, told", [
    ("settings", "is a dict, which cannot be called with (scope, receive, send)"),
    ("missing", "is None, which cannot be called"),
    ("functools", "is a module, which cannot be called"),
    ("create_app", "has no parameters, so it looks like a factory of an application; serve it with --factory"),
    ("Site", "as ASGI asks; it is a class, and an instance of it is needed"),
    ("four", "cannot be called with (scope, receive, send) as ASGI asks"),
])
def test_what_cannot_be_called_as_an_application_is_refused(name: str, told: str, tmp_path: Path) -> None:
    assert told in failure(f"apps:{name}", tmp_path)


@pytest.mark.usefixtures("apps")
@pytest.mark.parametrize("name, told", [
    ("settings", "apps:settings is a dict; with --factory it must be a function that returns the application"),
    ("app", "apps:app needs arguments; a factory has none. If it is the application itself, leave out --factory"),
    ("create_later", "The factory apps:create_later is an async function; it must be an ordinary one"),
    ("create_nothing", "What the factory apps:create_nothing returned is None, which cannot be called"),
    ("create_badly", "The factory apps:create_badly failed.\nTraceback"),
    ("leave", "The factory apps:leave ended the program (exit code 4).\nTraceback"),
])
def test_a_factory_that_fails_is_told(name: str, told: str, tmp_path: Path) -> None:
    text = failure(f"apps:{name}", tmp_path, factory=True)
    assert text.startswith(told)
    if "Traceback" in told:
        assert text.split('File "')[1].startswith(str(tmp_path / "apps.py"))


def test_a_callable_that_cannot_be_looked_into_is_given_the_benefit(tmp_path: Path, write: Write) -> None:
    write("main.py", "app = type\n")
    assert load("main", app_dir=str(tmp_path), factory=False) is type


def test_a_folder_that_cannot_be_read_names_no_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert 'There is no module "main"' in failure("main", tmp_path)


def test_a_factory_may_be_given_itself() -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        pass

    assert made_by(lambda: app) is app
    with pytest.raises(ApplicationError, match=r"What the factory .*<lambda> returned is an int, which cannot be called"):
        made_by(lambda: 1)
    with pytest.raises(ApplicationError, match="app needs arguments; a factory has none"):
        made_by(app)


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in which somebody stands cannot be removed there")
def test_a_current_folder_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ApplicationError, match="The current folder, .*, does not exist any more"):
        load("main", app_dir="", factory=False)
