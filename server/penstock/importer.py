"""`penstock.importer`: what `module:attribute` names, as programs written for uvicorn import it for themselves."""

from importlib import import_module
from typing import Any


class ImportFromStringError(Exception):
    """There is no such module or attribute; the text says which."""


def import_from_string(import_str: Any) -> Any:
    """The object that `module:attr.attr` names; anything but text is given back. Raises ImportFromStringError.

    What goes wrong inside the module is raised as it is.
    """
    if not isinstance(import_str, str):
        return import_str
    module_name, _, path = import_str.partition(":")
    if not module_name or not path:
        raise ImportFromStringError(f'"{import_str}" is not of the form "<module>:<attribute>"')
    try:
        found: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name:
            raise
        raise ImportFromStringError(f'There is no module "{module_name}"') from None
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ImportFromStringError(f'There is no "{path}" in module "{module_name}"') from None
    return found
