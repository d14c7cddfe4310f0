"""Application loading: from its name to something that can be called as an application.

Nearly every first run of a server fails here, so this file is mostly about saying what is wrong: each
failure is an ApplicationError whose text is complete, with the user's part of the traceback where their
code failed, and with what is near when a name does not exist.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from .interface import ASGI, interface_of, takes
from .spec import DEFAULT_ATTRIBUTE, Spec, fail, listed, nearest, read
from .spec import ApplicationError as ApplicationError
from .stack import user_traceback


def load(spec: str, *, app_dir: str | None, factory: bool, interface: str = "auto") -> Any:
    """Import what `spec` names and return the application, as it is.

    `app_dir` goes to the front of the import path; empty is the current folder, None leaves the path as
    it is. With `factory`, what is named is called and the result is the application.
    """
    named = read(spec)
    folder = _open_folder(app_dir)
    if named.folder is not None:
        folder = _open_folder(named.folder)
    module = _import(named.module, folder)
    _check_place(module, named)
    found = _find_attribute(module, named.attribute)
    if factory:
        found = _call_factory(found, spec)
    _check_application(found, f"What the factory {spec} returned" if factory else spec, factory, interface)
    return found


def made_by(factory: Any, interface: str = "auto") -> Any:
    """The application that `factory` makes, a function that is given itself instead of its name. Raises ApplicationError."""
    title = getattr(factory, "__qualname__", None) or repr(factory)
    made = _call_factory(factory, title)
    _check_application(made, f"What the factory {title} returned", True, interface)
    return made


def _open_folder(app_dir: str | None) -> str | None:
    """Put the folder first on the import path, and return it; None when there is none to put."""
    if app_dir is None:
        return None
    try:
        folder = os.path.abspath(app_dir)
    except FileNotFoundError:
        fail("The current folder, below which the application is to be, does not exist any more")
    if not os.path.isdir(folder):
        trouble = "is a file" if os.path.exists(folder) else "does not exist"
        fail(f"The folder to import the application from, {folder}, {trouble}")
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)
    # Files that were written since Python last looked are seen.
    importlib.invalidate_caches()
    return folder


# -- the module


def _import(name: str, folder: str | None) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        trace = user_traceback(error)
        is_itself = error.name is not None and (name == error.name or name.startswith(error.name + "."))
        if is_itself and not _has_frames(trace):
            fail(_describe_missing(name, error.name or name, folder))
        fail(
            f'{name} imports "{error.name}", which does not exist in this Python ({sys.executable}).'
            f"\n{trace}\nIf it is a package, install it for this Python."
        )
    except SystemExit as error:
        fail(f"{name} ended the program (exit code {error.code}) while it was imported.\n{user_traceback(error)}")
    except Exception as error:
        fail(f"{name} failed while it was imported.\n{user_traceback(error)}")


def _check_place(module: ModuleType, named: Spec) -> None:
    """Whether the module is that of the file that was named: another of its name may have been imported already."""
    place = getattr(module, "__file__", None)
    if named.file is not None and (place is None or _same(place) != _same(named.file)):
        fail(f'{named.file} cannot be imported as "{named.module}": that is {place or "built in"}; give it another name')


def _same(path: str) -> str:
    return os.path.normcase(os.path.realpath(path))


def _has_frames(trace: str) -> bool:
    return "\n  File " in trace


def _describe_missing(name: str, missing: str, folder: str | None) -> str:
    package, _, last = missing.rpartition(".")
    parent = sys.modules.get(package) if package else None
    if parent is not None and not hasattr(parent, "__path__"):
        return f'{package} is a module, not a package; did you mean "{package}:{last}"?'
    places = list(parent.__path__) if parent is not None else [folder] if folder else list(sys.path)
    where = ", ".join(place or os.getcwd() for place in places)
    names = _modules_in(places)
    message = f'There is no module "{missing}"' + (f" (of {name})" if missing != name else "")
    message += f" in {where}" if parent is not None or folder else " on the import path"
    near = [missing.removesuffix(last) + each for each in nearest(last, names)]
    if near:
        return f"{message}; did you mean {' or '.join(near)}?"
    if names and (parent is not None or folder):
        return f"{message}; modules there: {listed(names)}"
    return message + (", nor on the rest of the import path" if folder else "")


def _modules_in(places: Iterable[str]) -> list[str]:
    """The modules and packages that lie in the folders `places`."""
    names = set()
    for place in places:
        try:
            entries = list(os.scandir(place or "."))
        except OSError:
            continue
        for entry in entries:
            stem, extension = os.path.splitext(entry.name)
            is_package = not extension and os.path.exists(os.path.join(entry.path, "__init__.py"))
            if stem.isidentifier() and (extension == ".py" or is_package) and stem != "__init__":
                names.add(stem)
    return sorted(names)


# -- the attribute


def _find_attribute(module: ModuleType, path: str) -> Any:
    found: Any = module
    title = module.__name__
    for name in (path or DEFAULT_ATTRIBUTE).split("."):
        try:
            owner, found = found, getattr(found, name)
        except AttributeError:
            if found is module and getattr(module, "__file__", None) is None and hasattr(module, "__path__"):
                fail(_describe_folder(module, name))
            fail(_describe_no_attribute(module, found, title, name, is_default=not path))
        except Exception as error:
            fail(f'Reading "{name}" of {title} failed.\n{user_traceback(error)}')
        title += (":" if owner is module else ".") + name
    return found


def _describe_no_attribute(module: ModuleType, owner: Any, title: str, name: str, is_default: bool) -> str:
    place = f" ({module.__file__})" if owner is module and getattr(module, "__file__", None) else ""
    message = f'{title}{place} has no "{name}"'
    if is_default:
        message += ", which is looked for when only a module is named"
    public = {key: value for key, value in getattr(owner, "__dict__", {}).items() if not key.startswith("_")}
    apps = [key for key, value in public.items() if _looks_like_application(value, module)]
    factories = [key for key, value in public.items() if _looks_like_factory(value) and _is_from(module, value)]
    near = nearest(name, list(public))
    if apps:
        return f"{message}; what looks like an application there: {listed(apps)}"
    if factories:
        return f"{message}; perhaps penstock --factory {module.__name__}:{factories[0]}"
    if near:
        return f"{message}; did you mean {near[0]}?"
    return f"{message}; nothing there looks like an application"


def _describe_folder(module: ModuleType, name: str) -> str:
    """A folder without `__init__.py` is a package to Python, and an empty one: rarely what was meant."""
    title, places = module.__name__, list(module.__path__)
    message = (
        f'"{title}" is a folder here, not a module: {", ".join(places)}. There is no {title}.py'
        f' beside it, and the folder itself has no "{name}".'
    )
    inside = [f"{title}.{each}" for each in _modules_in(places)]
    if inside:
        message += f" Modules in it: {listed(inside)}."
    return f"{message} If {title}.py is in another folder, name that with --app-dir."


# -- the application


def _call_factory(factory: Any, spec: str) -> Any:
    if not callable(factory):
        fail(f"{spec} is {_a(factory)}; with --factory it must be a function that returns the application")
    if not takes(factory, 0):
        fail(f"{spec} needs arguments; a factory has none. If it is the application itself, leave out --factory")
    try:
        made = factory()
    except SystemExit as error:
        fail(f"The factory {spec} ended the program (exit code {error.code}).\n{user_traceback(error)}")
    except Exception as error:
        fail(f"The factory {spec} failed.\n{user_traceback(error)}")
    if inspect.iscoroutine(made):
        made.close()
        fail(f"The factory {spec} is an async function; it must be an ordinary one")
    return made


def _check_application(found: Any, title: str, factory: bool, interface: str) -> None:
    if not callable(found):
        fail(f"{title} is {_a(found)}, which cannot be called with {ASGI}")
    kind = interface_of(found) if interface == "auto" else interface
    if kind is not None:
        return
    if not factory and _looks_like_factory(found):
        fail(f"{title} has no parameters, so it looks like a factory of an application; serve it with --factory")
    hint = "; it is a class, and an instance of it is needed" if isinstance(found, type) else ""
    fail(f"{title} cannot be called with {ASGI}{hint}")


def _looks_like_application(value: Any, module: ModuleType) -> bool:
    """Whether `value` might be what was meant: a function as such applications are written, at home in `module`, or an
    object that is called like one."""
    if isinstance(value, (type, ModuleType)) or not callable(value):
        return False
    if not inspect.isroutine(value):
        is_asgi = inspect.iscoroutinefunction(type(value).__call__) and takes(value, 3)
        return is_asgi or interface_of(value) == "wsgi"
    is_wsgi = "start_response" in getattr(getattr(value, "__code__", None), "co_varnames", ())
    return _is_from(module, value) and (is_wsgi or (inspect.iscoroutinefunction(value) and takes(value, 3)))


def _looks_like_factory(value: Any) -> bool:
    if not inspect.isfunction(value) or inspect.iscoroutinefunction(value):
        return False
    return takes(value, 0) and not takes(value, 3)


def _is_from(module: ModuleType, value: Any) -> bool:
    return getattr(value, "__module__", None) == module.__name__


def _a(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, ModuleType):
        return "a module"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeio' else 'a'} {name}"

