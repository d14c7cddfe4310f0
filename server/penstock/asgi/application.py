"""Application loading: from `MODULE[:ATTR]` to something that can be called as an ASGI application.

Nearly every first run of a server fails here, so this file is mostly about saying what is wrong: each
failure is an ApplicationError whose text is complete, with the user's part of the traceback where their
code failed, and with what is near when a name does not exist.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, NoReturn

from .interface import ASGI, interface_of, takes
from .stack import user_traceback

DEFAULT_ATTRIBUTE = "app"

# How alike two names are (of 1) for one to be proposed for the other: `mian` and `main`, not `mod` and `good`.
_NEAR = 0.7


class ApplicationError(Exception):
    """The application cannot be loaded; the text is what the user is to read."""


def load(spec: str, *, app_dir: str | None, factory: bool, interface: str = "auto") -> Any:
    """Import what `spec` names and return the application, as it is.

    `app_dir` goes to the front of the import path; empty is the current folder, None leaves the path as
    it is. With `factory`, what is named is called and the result is the application.
    """
    module_name, _, attribute = spec.partition(":")
    _check_spec(spec, module_name)
    folder = _open_folder(app_dir)
    module = _import(module_name, spec, folder)
    found = _find_attribute(module, attribute or DEFAULT_ATTRIBUTE, spec)
    if factory:
        found = _call_factory(found, spec)
    _check_application(found, f"What the factory {spec} returned" if factory else spec, factory, interface)
    return found


def _check_spec(spec: str, module_name: str) -> None:
    if "/" in spec or os.sep in spec or module_name.endswith(".py"):
        path, _, attribute = spec.partition(":")
        name = os.path.basename(path).removesuffix(".py") or "main"
        folder = os.path.dirname(path)
        hint = f"--app-dir {folder} " if folder else ""
        example = f"penstock {hint}{name}:{attribute or DEFAULT_ATTRIBUTE}"
        _fail(f'"{spec}" is a path; name a module instead: {example}')
    if not module_name or not all(module_name.split(".")):
        _fail(f'"{spec}" does not name a module; write MODULE:ATTR, for example main:app')


def _open_folder(app_dir: str | None) -> str | None:
    """Put the folder first on the import path, and return it; None when there is none to put."""
    if app_dir is None:
        return None
    folder = os.path.abspath(app_dir)
    if not os.path.isdir(folder):
        trouble = "is a file" if os.path.exists(folder) else "does not exist"
        _fail(f"The folder to import the application from, {folder}, {trouble}")
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)
    # Files that were written since Python last looked are seen.
    importlib.invalidate_caches()
    return folder


# -- the module


def _import(name: str, spec: str, folder: str | None) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        trace = user_traceback(error)
        is_itself = error.name is not None and (name == error.name or name.startswith(error.name + "."))
        if is_itself and not _has_frames(trace):
            _fail(_describe_missing(name, error.name or name, folder))
        _fail(
            f'{name} imports "{error.name}", which does not exist in this Python ({sys.executable}).'
            f"\n{trace}\nIf it is a package, install it for this Python."
        )
    except SystemExit as error:
        _fail(f"{name} ended the program (exit code {error.code}) while it was imported.\n{user_traceback(error)}")
    except Exception as error:
        _fail(f"{name} failed while it was imported.\n{user_traceback(error)}")


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
    near = [missing.removesuffix(last) + each for each in _nearest(last, names)]
    if near:
        return f"{message}; did you mean {' or '.join(near)}?"
    if names and (parent is not None or folder):
        return f"{message}; modules there: {_list(names)}"
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


def _find_attribute(module: ModuleType, path: str, spec: str) -> Any:
    found: Any = module
    title = module.__name__
    for name in path.split("."):
        try:
            owner, found = found, getattr(found, name)
        except AttributeError:
            if found is module and getattr(module, "__file__", None) is None and hasattr(module, "__path__"):
                _fail(_describe_folder(module, name))
            is_default = ":" not in spec
            _fail(_describe_no_attribute(module, found, title, name, is_default))
        except Exception as error:
            _fail(f'Reading "{name}" of {title} failed.\n{user_traceback(error)}')
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
    near = _nearest(name, public)
    if apps:
        return f"{message}; what looks like an application there: {_list(apps)}"
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
        message += f" Modules in it: {_list(inside)}."
    return f"{message} If {title}.py is in another folder, name that with --app-dir."


# -- the application


def _call_factory(factory: Any, spec: str) -> Any:
    if not callable(factory):
        _fail(f"{spec} is {_a(factory)}; with --factory it must be a function that returns the application")
    if not takes(factory, 0):
        _fail(f"{spec} needs arguments; a factory has none. If it is the application itself, leave out --factory")
    try:
        made = factory()
    except SystemExit as error:
        _fail(f"The factory {spec} ended the program (exit code {error.code}).\n{user_traceback(error)}")
    except Exception as error:
        _fail(f"The factory {spec} failed.\n{user_traceback(error)}")
    if inspect.iscoroutine(made):
        made.close()
        _fail(f"The factory {spec} is an async function; it must be an ordinary one")
    return made


def _check_application(found: Any, title: str, factory: bool, interface: str) -> None:
    if not callable(found):
        _fail(f"{title} is {_a(found)}, which cannot be called with {ASGI}")
    kind = interface_of(found) if interface == "auto" else interface
    if kind is not None:
        return
    if not factory and _looks_like_factory(found):
        _fail(f"{title} has no parameters, so it looks like a factory of an application; serve it with --factory")
    hint = "; it is a class, and an instance of it is needed" if isinstance(found, type) else ""
    _fail(f"{title} cannot be called with {ASGI}{hint}")


def _looks_like_application(value: Any, module: ModuleType) -> bool:
    """Whether `value` might be what was meant: an async callable of three arguments, at home in `module`."""
    if isinstance(value, (type, ModuleType)) or not callable(value):
        return False
    call: Callable[..., Any] = value if inspect.isroutine(value) else type(value).__call__
    is_foreign = inspect.isroutine(value) and not _is_from(module, value)
    return inspect.iscoroutinefunction(call) and takes(value, 3) and not is_foreign


def _looks_like_factory(value: Any) -> bool:
    if not inspect.isfunction(value) or inspect.iscoroutinefunction(value):
        return False
    return takes(value, 0) and not takes(value, 3)


def _is_from(module: ModuleType, value: Any) -> bool:
    return getattr(value, "__module__", None) == module.__name__


def _nearest(name: str, names: Iterable[str]) -> list[str]:
    from difflib import get_close_matches  # only ever needed on the way out

    return get_close_matches(name, list(names), 3, _NEAR)


def _fail(message: str) -> NoReturn:
    raise ApplicationError(message) from None


def _a(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, ModuleType):
        return "a module"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeio' else 'a'} {name}"


def _list(names: list[str]) -> str:
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "")

