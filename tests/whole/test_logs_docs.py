"""The pages on logs and proxies name what there is, and all of it."""

import re

import pytest
from support.serving import CHECKOUT

from penstock.log.atoms import _ATOMS
from penstock.settings import options

LOGGING = (CHECKOUT / "docs" / "logging.md").read_text(encoding="utf-8")
PROXIES = (CHECKOUT / "docs" / "behind-a-proxy.md").read_text(encoding="utf-8")


def test_every_atom_is_explained() -> None:
    section = LOGGING.partition("### A format of your own")[2].partition("### JSON")[0]
    assert set(_ATOMS) <= set(re.findall(r"`(\w+)`", section))


@pytest.mark.parametrize("page, group", [(LOGGING, "Logs"), (PROXIES, "Behind a proxy")])
def test_the_page_of_a_group_names_each_of_its_options_and_no_other_than_there_are(page: str, group: str) -> None:
    flags = {flag for option in options() for flag in (option.flag, "--no-" + option.flag[2:])}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", page))
    assert named <= flags
    wanted = [option.flag for option in options() if option.doc.group == group]
    assert [flag for flag in wanted if not {flag, "--no-" + flag[2:]} & named] == []


def test_every_ending_is_explained() -> None:
    rooms = [CHECKOUT / "server" / "penstock" / room for room in ("connection", "asgi")]
    text = "".join(path.read_text(encoding="utf-8") for room in rooms for path in room.glob("*.py"))
    endings = set(re.findall(r'(?:cut|close|_lose)\((?:exchange, )?"([a-z ]+)"\)', text)) | {"failed", "ok", "client gone"}
    section = LOGGING.partition("## The access log")[2].partition("###")[0]
    assert endings == set(re.findall(r"^\| `([a-z ]+)`", section, re.MULTILINE))
