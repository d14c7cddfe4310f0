"""The house rules that a machine can check: who may import whom, and how large a thing may grow.

Reads the sources and imports none of them, so it also holds for code that a test never reaches: an import
inside a function or under TYPE_CHECKING is an arrow like any other.
"""

import ast
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
ROOTS = {"penstock_reactor": TOP / "reactor", "penstock": TOP / "server"}

# A room and the rooms it may import, beside itself. Names are as inside `penstock`; the other root keeps its own.
# The longest name that fits counts: `supervisor.child` is ruled by its own line, `supervisor.fleet` by its room's.
EVERYTHING = {"penstock_reactor", "penstock", "options", "settings", "sources", "env_file", "codec", "connection", "asgi", "log",
              "logging", "config", "importer", "tls", "listener", "ready", "console", "server", "leaving", "runner", "embedding", "compat", "testing", "middleware",
              "supervisor", "check", "cli"}
ARROWS = {
    "penstock_reactor": set[str](),
    "options": set[str](),
    "settings": {"options"},
    "sources": {"options", "settings"},
    "env_file": set[str](),
    "codec": set[str](),
    "connection": {"codec", "settings"},
    # What a proxy forwards is held to the same grammar as what a client sends.
    "asgi": {"connection", "codec.events", "codec.grammar", "settings"},
    "middleware": {"asgi", "connection"},
    "log": {"settings"},
    # Faces of the log under the names that configurations of uvicorn's users have.
    "logging": {"log"},
    "config": {"compat", "log"},
    "importer": set[str](),
    "tls": {"settings"},
    "listener": {"settings"},
    "ready": {"listener", "settings"},
    # Both who runs alone and who supervises must outstay the system's patience.
    "console": set[str](),
    "server": {"asgi", "connection", "log", "tls", "listener", "settings"},
    # It knows the threads of WSGI applications by their name.
    "leaving": {"asgi"},
    # It loads the application, binds the sockets and tells each failure apart: exit codes are made of them.
    "runner": {"server", "asgi", "console", "env_file", "leaving", "listener", "ready", "log", "tls", "penstock_reactor", "settings"},
    "supervisor": {"console", "listener", "ready", "log", "tls", "settings"},
    "supervisor.child": {"runner", "log", "settings"},
    # It tries all that a start would do, one after the other.
    "check": EVERYTHING - {"penstock_reactor"},
    "cli": EVERYTHING,
    # The door for programs that have a life of their own beside the server.
    "embedding": {"runner", "server", "listener", "settings", "sources"},
    "compat": {"embedding", "runner", "server", "asgi", "listener", "ready", "log", "tls", "settings", "sources"},
    # A client that shares no code with the server is a second opinion; servers are started as anyone starts them.
    "testing": {"embedding"},
    "testing.client": set[str](),
    # The bundled example is an application like anyone's: it asks for the version and no more.
    "welcome": {"penstock"},
    # The package's face, whose names are loaded when they are asked for.
    "penstock": EVERYTHING,
    "__main__": {"cli"},
}

# Sans-I/O: bytes in, events out, the same every time.
IMPURE = {"asyncio", "socket", "ssl", "selectors", "threading", "time", "logging", "os"}

MAX_FUNCTION, MAX_FILE = 40, 350

# Lines with code on them, in each part: the event loop, which is a product of its own, in one day, the server in two.
# Comments and docstrings are not counted, because the cheapest way under such a wall would be to leave them out.
MAX_CODE = {"penstock_reactor": 4_000, "penstock": 9_600}

_NOT_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING,
             tokenize.ENDMARKER}

# Each with its reason, or not at all. Names are as `Module.name` prints them.
LONG_FUNCTIONS: dict[str, str] = {}
LONG_FILES: dict[str, str] = {}
WITHOUT_OWN_TEST: dict[str, str] = {
    "penstock.__main__": "two lines; started by every test in tests/whole",
}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, and where it is imported."""

    module: str
    level: int
    target: str
    line: int

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


@dataclass(frozen=True)
class Module:
    """One source file of the product."""

    name: str
    path: Path

    @property
    def package(self) -> str:
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    def tree(self) -> ast.Module:
        return _parse(self.path)

    def imports(self) -> Iterator[Import]:
        """Every import statement, with what it names resolved to a module where it is ours."""
        for node in ast.walk(self.tree()):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(self.name, 0, alias.name, node.lineno)
            elif isinstance(node, ast.ImportFrom):
                parts = self.package.split(".")
                base = parts[: len(parts) - node.level + 1] if node.level else []
                source = ".".join([*base, *([node.module] if node.module else [])])
                for alias in node.names:
                    submodule = f"{source}.{alias.name}"
                    yield Import(self.name, node.level, submodule if submodule in modules() else source, node.lineno)


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def modules() -> dict[str, Module]:
    """The product's modules by their dotted names."""
    found = {}
    for package, root in ROOTS.items():
        for path in sorted((root / package).rglob("*.py")):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            found[name] = Module(name, path)
    return found


def ours(target: str) -> bool:
    return target.partition(".")[0] in ROOTS


def room_of(name: str) -> str:
    """A module's name as the table of arrows has it."""
    return name.removeprefix("penstock.")


def covers(entry: str, room: str) -> bool:
    return room == entry or room.startswith(entry + ".")


def row_of(room: str) -> str | None:
    """The line of the table that rules a room: the longest that fits."""
    return max((entry for entry in ARROWS if covers(entry, room)), key=len, default=None)


def said(found: Iterable[object]) -> str:
    """What a failure shows: one a line, none left out."""
    return "\n".join(str(each) for each in found)


def all_imports() -> list[Import]:
    return [found for module in modules().values() for found in module.imports()]


def test_every_module_has_a_room_in_the_table() -> None:
    assert [name for name in modules() if row_of(room_of(name)) is None] == []


def test_arrows_between_rooms_point_down() -> None:
    wrong = []
    for found in filter(lambda found: ours(found.target), all_imports()):
        row = row_of(room_of(found.module))
        own = room_of(found.module).partition(".")[0]
        allowed = {own} | (ARROWS[row] if row else set())
        if not any(covers(entry, room_of(found.target)) for entry in allowed):
            wrong.append(str(found))
    assert not wrong, said(wrong)


def test_nothing_but_the_standard_library_is_imported() -> None:
    foreign = (found for found in all_imports() if not ours(found.target))
    wrong = [found for found in foreign if found.target.partition(".")[0] not in sys.stdlib_module_names]
    assert not wrong, said(wrong)


def test_the_codec_does_no_io() -> None:
    inside = (found for found in all_imports() if covers("codec", room_of(found.module)))
    wrong = [found for found in inside if found.target.partition(".")[0] in IMPURE]
    assert not wrong, said(wrong)


def test_only_the_poller_imports_selectors() -> None:
    assert {found.module for found in all_imports() if found.target == "selectors"} <= {"penstock_reactor.poller"}


def test_only_the_runner_and_the_supervised_child_import_the_reactor() -> None:
    outside = (found for found in all_imports() if not covers("penstock_reactor", found.module))
    importers = {found.module for found in outside if covers("penstock_reactor", found.target)}
    assert importers <= {"penstock.runner", "penstock.supervisor.child"}


def test_nothing_below_the_loop_imports_it() -> None:
    importers = {found.module for found in all_imports() if found.target == "penstock_reactor.loop"}
    assert importers <= {"penstock_reactor"}


def test_imports_at_home_are_relative_and_from_another_root_absolute() -> None:
    own = (found for found in all_imports() if found.target.partition(".")[0] == found.module.partition(".")[0])
    wrong = [found for found in own if found.level == 0]
    assert not wrong, said(wrong)


def test_two_dots_lead_out_of_the_room_and_one_dot_stays() -> None:
    wrong = []
    for found in all_imports():
        package = modules()[found.module].package
        if found.level == 1 and not covers(package, found.target):
            wrong.append(str(found))
        if found.level > 2 or (found.level == 2 and covers(package, found.target)):
            wrong.append(str(found))
    assert not wrong, said(wrong)


def mirror_of(name: str) -> Path:
    """Where a module's own test file stands."""
    root, _, rest = name.partition(".")
    *rooms, last = rest.split(".")
    return TOP / "tests" / ROOTS[root].name / Path(*rooms) / f"test_{last}.py"


def test_every_module_has_its_own_test_file() -> None:
    leaves = [name for name, module in modules().items() if module.path.name != "__init__.py"]
    missing = [f"{name}: no {mirror_of(name).relative_to(TOP)}" for name in leaves
               if name not in WITHOUT_OWN_TEST and not mirror_of(name).is_file()]
    assert not missing, said(missing)


def test_no_function_is_longer_than_a_page() -> None:
    sources = {name: module.tree() for name, module in modules().items()}
    sources |= {str(path.relative_to(TOP)): _parse(path) for path in (TOP / "tests").rglob("*.py")}
    long = {}
    for name, tree in sources.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION:
                    long[f"{name}.{node.name}"] = lines
    wrong = [f"{name}: {lines} lines" for name, lines in long.items() if name not in LONG_FUNCTIONS]
    assert not wrong, said(wrong)


def line_counts() -> dict[str, int]:
    return {name: len(module.path.read_text(encoding="utf-8").splitlines()) for name, module in modules().items()}


def test_no_file_is_longer_than_a_reader_has_patience_for() -> None:
    wrong = [f"{name}: {lines} lines" for name, lines in line_counts().items()
             if lines > MAX_FILE and name not in LONG_FILES]
    assert not wrong, said(wrong)


def code_lines(module: Module) -> int:
    """Lines that hold code: neither blank nor comment nor docstring."""
    lines: set[int] = set()
    with module.path.open("rb") as source:
        for token in tokenize.tokenize(source.readline):
            if token.type not in _NOT_CODE:
                lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(module.tree()):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


@pytest.mark.parametrize("package, most", MAX_CODE.items())
def test_each_part_can_be_read_in_a_day_or_two(package: str, most: int) -> None:
    total = sum(code_lines(module) for name, module in modules().items() if covers(package, name))
    assert total <= most, f"{total} lines of code"


def test_every_file_says_what_it_holds() -> None:
    assert [name for name, module in modules().items() if not ast.get_docstring(module.tree())] == []


def test_no_check_is_an_assertion_that_python_leaves_out_when_it_optimises() -> None:
    asserts = [f"{name}:{node.lineno}" for name, module in modules().items()
               for node in ast.walk(module.tree()) if isinstance(node, ast.Assert)]
    assert not asserts, said(asserts)


def test_every_exception_is_still_needed() -> None:
    known = set(modules()) | {f"{name}.{node.name}" for name, module in modules().items()
                              for node in ast.walk(module.tree())
                              if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    excepted = [*LONG_FUNCTIONS, *LONG_FILES, *WITHOUT_OWN_TEST]
    assert [name for name in excepted if name not in known] == []


@pytest.mark.parametrize("source, target", [
    ("connection.http", "asgi.http"), ("codec.head", "settings"), ("asgi.http", "codec.head"),
    ("supervisor.fleet", "runner"), ("settings", "log"), ("penstock_reactor.loop", "settings"),
])
def test_the_table_forbids_arrows_that_point_up(source: str, target: str) -> None:
    row = row_of(source)
    assert row is not None and not any(covers(entry, target) for entry in ARROWS[row])
