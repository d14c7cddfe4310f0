"""docs/settings.md: its tables are written from the fields of Settings, below a line that says so.

    make settings          writes them; what stands above the line is written by hand and stays
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from penstock.options import Option
from penstock.settings import options

PAGE = Path(__file__).parent.parent.parent / "docs" / "settings.md"
MARK = "<!-- From here on written by `make settings`. -->\n"


def page(text: str) -> str:
    """The whole page, with the tables as they are to be; `text` is the page as it is."""
    by_hand, mark, _ = text.partition(MARK)
    if not mark:
        raise ValueError(f"{PAGE} has lost its line {MARK.strip()}")
    return by_hand + mark + "".join(_tables())


def _tables() -> Iterator[str]:
    groups: dict[str, list[Option]] = {}
    for option in options():
        groups.setdefault(option.doc.group, []).append(option)
    for title, members in groups.items():
        yield f"\n## {title}\n\n| command line | name | default | |\n|---|---|---|---|\n"
        for option in members:
            flag = option.flag + (f" {option.doc.metavar}" if option.doc.metavar else "")
            yield f"| `{flag}` | `{option.name}` | {_default(option)} | {_escaped(_meaning(option))} |\n"


def _meaning(option: Option) -> str:
    doc = option.doc
    text = doc.help
    if doc.choices:
        text += f" One of {', '.join(doc.choices)}."
    elif option.kind in (int, float) and (doc.minimum, doc.maximum) != (None, None):
        text += f" {option.wanted.capitalize()}."
    if doc.instead:
        text += f" {doc.instead[0].upper()}{doc.instead[1:]}."
    return text


def _default(option: Option) -> str:
    text = option.written(option.default)
    return f"`{text}`" if text and option.default is not None and option.kind is not bool else text


def _escaped(text: str) -> str:
    for character in "\\|*<~":
        text = text.replace(character, "\\" + character)
    return text


if __name__ == "__main__":
    written = page(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(written, encoding="utf-8", newline="\n")
    print(f"{PAGE}: {len(options())} options", file=sys.stderr)
