"""Options: what a field of Settings says about itself, and how a text or a value becomes one.

`doc` is written beside each field; `Option` is a field with its documentation, as the command line, the environment,
a file and the checks need it: a new option is written once. No I/O, nothing of ours imported.
"""

import math
import re
from dataclasses import Field
from typing import Any, NamedTuple


_TRUTHS = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True), **dict.fromkeys(("0", "false", "f", "no", "n", "off"), False),
}  # fmt: skip


class Doc(NamedTuple):
    """What a field says about itself.

    `minimum` and `maximum` bound numbers, both inclusive; a switch with a `maximum` of 0 can only be off. Text has the
    `shape` of a pattern, said in words. `instead` is for options that are taken for another server's sake: what penstock
    does. What has the `metavar` FILE or DIR must exist before the server starts. What
    `takes_table` may be a dict instead of the text.
    """

    help: str
    group: str
    metavar: str = ""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    shape: tuple[str, str] = ("", "")
    instead: str = ""
    takes_table: bool = False


def doc(
    text: str, *, group: str, metavar: str = "", choices: tuple[str, ...] = (), minimum: float | None = None,
    maximum: float | None = None, shape: tuple[str, str] = ("", ""), instead: str = "", takes_table: bool = False,
) -> dict[str, Doc]:
    """The `metadata` of a field of Settings."""
    return {"doc": Doc(text, group, metavar, choices, minimum, maximum, shape, instead, takes_table)}


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
        if self.doc.shape[1]:
            return self.doc.shape[1]
        text = {str: "text", bool: "True or False", int: "a whole number", float: "a number", tuple: "several texts"}[self.kind]
        low, high = self.doc.minimum, self.doc.maximum
        if self.kind is bool and high == 0:
            return "off"
        if low is not None:
            text += f" from {low:.12g} to {high:.12g}" if high is not None else f" of at least {low:.12g}"
        return text + (", or none" if self.is_optional and self.kind is not str else "")

    def written(self, value: Any) -> str:
        """A value, as a command line or a page shows it."""
        if self.kind is bool and value is not None:
            return "on" if value else "off"
        if isinstance(value, tuple):
            return " ".join(value)
        return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)

    def parse(self, text: str, label: str = "") -> Any:
        """The value that `text` (from a command line or the environment) stands for; ValueError when it stands for none."""
        label = label or self.flag
        value: Any = text
        if self.kind is tuple:
            value = tuple(text.split())
        elif self.kind is not str:
            if self.is_optional and text.lower() == "none":
                return None
            try:
                value = _TRUTHS[text.lower()] if self.kind is bool else self.kind(text)
            except (ValueError, KeyError):
                self._refuse(text, label)
        self.check(value, label)
        return value

    def gather(self, value: Any) -> Any:
        """Several texts may be given as one text or a list, too, and None is none of them; what has no null says "none"."""
        if self.kind is tuple:
            if value is None:
                return self.default
            if isinstance(value, list | tuple):
                # uvicorn's headers are pairs.
                return tuple(":".join(map(str, each)) if isinstance(each, list | tuple) else each for each in value)
            return (value,) if isinstance(value, str) else value
        if self.doc.metavar == "LIST" and isinstance(value, list | tuple):
            return ",".join(map(str, value))
        return None if self.is_optional and self.kind is not str and value == "none" else value

    def check(self, value: Any, label: str = "") -> None:
        """Raise ValueError, naming the option as `label`, when `value` is not allowed."""
        if value is None and self.is_optional:
            return
        # Python counts True as a number, and a whole number is a fine number of seconds.
        fits = type(value) is self.kind or (self.kind is float and type(value) is int)
        if self.kind is str:
            fits = isinstance(value, str) and self._fits_text(value) or (self.doc.takes_table and isinstance(value, dict))
        elif self.kind is tuple:
            fits = fits and all(isinstance(each, str) for each in value)
            for each in value if fits else ():
                if not self._fits_text(each):
                    self._refuse(each, label)
        elif fits:
            low, high = self.doc.minimum, self.doc.maximum
            fits = math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)
        if not fits:
            self._refuse(value, label)

    def _fits_text(self, value: str) -> bool:
        if self.doc.choices:
            return value in self.doc.choices
        return not self.doc.shape[0] or bool(re.fullmatch(self.doc.shape[0], value))

    def _refuse(self, value: Any, label: str) -> None:
        why = f": {self.doc.instead}" if self.doc.instead else ""
        raise ValueError(f"{label or self.name} must be {self.wanted}, not {value!r}{why}")


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
