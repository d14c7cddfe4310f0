"""What an application is called on the command line: `MODULE[:ATTR]` or `path/to/file.py[:ATTR]`.

A path becomes the module that Python would know the file as: the folders above it that are packages belong to its name,
so relative imports work, and the folder above those is where it is imported from.
"""

import os
from typing import NamedTuple, NoReturn

DEFAULT_ATTRIBUTE = "app"

# How alike two names are (of 1) for one to be proposed for the other: `mian` and `main`, not `mod` and `good`.
_NEAR = 0.7


class ApplicationError(Exception):
    """The application cannot be loaded; the text is what the user is to read."""


class Spec(NamedTuple):
    """What is to be imported. `file` is where a path says that the module is, `folder` where to import it from."""

    module: str
    attribute: str
    """"" when none was named."""
    folder: str | None = None
    file: str | None = None


def read(text: str) -> Spec:
    """Take apart what the user wrote. Raises ApplicationError."""
    head, _, attribute = text.rpartition(":")
    if not head or "/" in attribute or os.sep in attribute:
        # No colon but that of a drive.
        head, attribute = (text, "") if not text.startswith(":") else ("", text)
    if "/" in head or os.sep in head or head.endswith(".py"):
        return _read_path(head, attribute)
    if not head or not all(head.split(".")):
        fail(f'"{text}" does not name a module; write MODULE:ATTR, for example main:app')
    return Spec(head, attribute)


def _read_path(path: str, attribute: str) -> Spec:
    file = os.path.abspath(path)
    if os.path.isdir(file):
        inside = os.path.join(file, "__init__.py")
        if not os.path.exists(inside):
            files = sorted(each for each in os.listdir(file) if each.endswith(".py"))
            fail(f"{path} is a folder, and no package; name a file in it" + (f": {listed(files)}" if files else ""))
        file = inside
    elif not os.path.exists(file):
        folder, name = os.path.split(file)
        files = [each for each in os.listdir(folder) if each.endswith(".py")] if os.path.isdir(folder) else []
        near = [os.path.join(os.path.dirname(path), each) for each in nearest(name.removesuffix(".py") + ".py", files)]
        fail(f"There is no file {path}" + (f"; did you mean {' or '.join(near)}?" if near else ""))
    folder, name = os.path.split(file)
    parts = [name.removesuffix(".py")] if name != "__init__.py" else []
    while os.path.exists(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        parts.insert(0, package)
    if not name.endswith(".py") or any("." in part for part in parts):
        fail(f"{path} cannot be imported: its name must end in .py and have no other dot, nor those of its packages")
    return Spec(".".join(parts), attribute, folder, file)


def nearest(name: str, names: list[str]) -> list[str]:
    """Which of `names` may have been meant by `name`."""
    from difflib import get_close_matches  # only ever needed on the way out

    return get_close_matches(name, names, 3, _NEAR)


def listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "")


def fail(message: str) -> NoReturn:
    raise ApplicationError(message) from None
