"""Options: what a field of Settings says about itself, and how a text or a value becomes one.

`doc` is written beside each field; `Option` is a field with its documentation, as the command line, the environment,
a file and the checks need it: a new option is written once. No I/O, nothing of ours imported.
"""

import math
from dataclasses import Field
from typing import Any, NamedTuple


class Doc(NamedTuple):
    """What a field says about itself.

    `minimum` and `maximum` bound numbers, both inclusive; text that is not empty begins with `prefix`.
    """

    help: str
    group: str
    metavar: str = ""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    prefix: str = ""


def doc(
    text: str,
    *,
    group: str,
    metavar: str = "",
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    prefix: str = "",
) -> dict[str, Doc]:
    """The `metadata` of a field of Settings."""
    return {"doc": Doc(text, group, metavar, choices, minimum, maximum, prefix)}


class Option(NamedTuple):
    """One field of Settings, as the command line and the checks need it."""

    name: str
    kind: type  # str, bool, int, float, or tuple: several texts
    is_optional: bool  # None is allowed
    default: Any
    doc: Doc

    @property
    def flag(self) -> str:
        """The option's name on the command line; one that may be given again is in the singular there."""
        return "--" + (self.name.removesuffix("s") if self.kind is tuple else self.name).replace("_", "-")

    @property
    def wanted(self) -> str:
        """What the option allows, for messages: `a whole number from 0 to 65535`."""
        if self.doc.choices:
            return "one of " + ", ".join(self.doc.choices)
        if self.doc.prefix:
            return f"empty or begin with {self.doc.prefix}"
        text = {str: "text", bool: "True or False", int: "a whole number", float: "a number", tuple: "several texts"}[self.kind]
        low, high = self.doc.minimum, self.doc.maximum
        if low is not None:
            text += f" from {low:g} to {high:g}" if high is not None else f" of at least {low:g}"
        return text + (", or none" if self.is_optional and self.kind is not str else "")

    def parse(self, text: str) -> Any:
        """The value that `text` (from a command line) stands for; ValueError when it stands for none."""
        value: Any = text
        if self.kind is not str:
            if self.is_optional and text.lower() == "none":
                return None
            try:
                value = self.kind(text)
            except ValueError:
                self._refuse(text, self.flag)
        self.check(value, self.flag)
        return value

    def gather(self, value: Any) -> Any:
        """Several texts may be given as one text or a list, too."""
        if self.kind is tuple and isinstance(value, str | list):
            return (value,) if isinstance(value, str) else tuple(value)
        return value

    def check(self, value: Any, label: str = "") -> None:
        """Raise ValueError, naming the option as `label`, when `value` is not allowed."""
        if value is None and self.is_optional:
            return
        # Python counts True as a number, and a whole number is a fine number of seconds.
        fits = type(value) is self.kind or (self.kind is float and type(value) is int)
        if self.kind is str:
            fits = isinstance(value, str) and self._fits_text(value)
        elif self.kind is tuple:
            fits = fits and all(isinstance(each, str) for each in value)
        elif fits and self.kind is not bool:
            low, high = self.doc.minimum, self.doc.maximum
            fits = math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)
        if not fits:
            self._refuse(value, label)

    def _fits_text(self, value: str) -> bool:
        if self.doc.choices:
            return value in self.doc.choices
        return not value or value.startswith(self.doc.prefix)

    def _refuse(self, value: Any, label: str) -> None:
        raise ValueError(f"{label or self.name} must be {self.wanted}, not {value!r}")


def option_of(entry: Field[Any]) -> Option:
    """The option that a dataclass field with a `doc` describes."""
    # `int | None` is a union whose first member is the kind; a plain type has no members.
    annotation: Any = getattr(entry.type, "__origin__", entry.type)
    members: tuple[type, ...] = getattr(annotation, "__args__", (annotation,))
    return Option(entry.name, members[0], type(None) in members, entry.default, entry.metadata["doc"])


def did_you_mean(word: str, known: list[str]) -> str:
    """`; did you mean port?`, or nothing when no word is near."""
    from difflib import get_close_matches  # only ever needed on the way out

    near = get_close_matches(word, known, 1) or [each for each in known if each.startswith(word)]
    return f"; did you mean {near[0]}?" if near else ""
