from pathlib import Path

import pytest

from penstock.env_file import EnvFileError, load, parse

ENVIRON = {"HOME": "/home/x", "EMPTY": ""}


def values(text: str) -> dict[str, str]:
    return parse(text, ".env", ENVIRON)


# Each as python-dotenv reads it.
@pytest.mark.parametrize("text, found", [
    ("A=b", {"A": "b"}), ("A = b \nC=d", {"A": "b", "C": "d"}), ("\n\n  A=b\n\n", {"A": "b"}), ("A=", {"A": ""}), ("A=b c", {"A": "b c"}),
    ("export A=b", {"A": "b"}), ("export\tA=b", {"A": "b"}), ("exported=b", {"exported": "b"}), ("'A B'=c", {"A B": "c"}),
    ("a.b-c=d", {"a.b-c": "d"}), ("é=ü", {"é": "ü"}),
    ("# A=b\nC=d # e", {"C": "d"}), ("A=b#c", {"A": "b#c"}), ("A= # b", {"A": ""}), ("A=#b", {"A": "#b"}),
    ("A='b' # c", {"A": "b"}), ('A="b"#c', {"A": "b"}), ("A='b # c'", {"A": "b # c"}),
    (r"A='b\nc\'\\'", {"A": r"b\nc'" + "\\"}), (r'A="b\nc\"\\\t"', {"A": 'b\nc"\\\t'}), (r'A="\x\$"', {"A": r"\x\$"}),
    ("A=b\\n", {"A": "b\\n"}), ("A=b'c'", {"A": "b'c'"}), ("A=''", {"A": ""}),
    ('A="b\n# c\n"\nD=e', {"A": "b\n# c\n", "D": "e"}), ("A='b\n\nc'", {"A": "b\n\nc"}),
    ("A\nB=c", {"B": "c"}), ("A # b", {}), ("A=b\nA", {}), ("A=b\nA=c", {"A": "c"}), ("", {}), ("A=b=c", {"A": "b=c"}),
])
def test_values_are_read(text: str, found: dict[str, str]) -> None:
    assert values(text) == found


@pytest.mark.parametrize("text, value", [
    ("${HOME}/y", "/home/x/y"), ("'${HOME}'", "/home/x"), ('"${HOME}"', "/home/x"), ("${NONE}", ""), ("${NONE:-or so}", "or so"),
    ("${EMPTY:-or so}", ""), ("${HOME:-or so}", "/home/x"), ("$HOME", "$HOME"), ("${HOME", "${HOME"), ("${NONE:-}", ""),
    ("${ABOVE}${ABOVE}", "uu"), ("${BELOW}", ""), ("${NONE:-${HOME}}", "${HOME}"), ("${X}", ""),
])
def test_values_may_refer_to_others(text: str, value: str) -> None:
    assert values(f"ABOVE=u\nX={text}\nBELOW=v")["X"] == value


def test_the_environment_goes_before_the_file() -> None:
    assert values("HOME=/elsewhere\nX=${HOME}") == {"HOME": "/elsewhere", "X": "/home/x"}


@pytest.mark.parametrize("text, told", [
    ("A=b\nnot so", "line 2: NAME=value was expected, not 'not so'"), ("=b", "line 1: NAME=value was expected, not '=b'"),
    ("A='b\nC=d", "line 1: the quote ' is not closed"), ('\n\nA="b\\"', 'line 3: the quote " is not closed'),
    ("A='b'c d", "line 1: 'c d' behind the closing quote"), ("A='b\n'c\nD", "line 2: 'c' behind the closing quote"),
    ("A=b\0", "line 1: a NUL character"), ("x " * 50, "not 'x x x"), ("export", ""), ("A='b' 'c'", "behind the closing quote"),
])
def test_what_cannot_be_read_is_told_with_its_line(text: str, told: str) -> None:
    if not told:
        assert values(text) == {}
        return
    with pytest.raises(EnvFileError, match=r"^\.env, line ") as caught:
        values(text)
    assert told in str(caught.value) and len(str(caught.value)) < 120


def test_a_long_file_takes_no_long_time() -> None:
    assert len(values("".join(f"NAME_{number}='{'x' * 100}' # y\n" for number in range(2000)))) == 2000
    for bad in ("A='" + "\\'" * 50_000, "A" * 50_000 + " b", "A=" + " " * 50_000 + "'", "export " * 10_000, "'" * 20_001):
        with pytest.raises(EnvFileError):
            values(bad)


def test_what_the_environment_has_already_stays(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"\xef\xbb\xbfHOME=/elsewhere\r\nA='b\r\nc'\r\n")
    environ = dict(ENVIRON)
    load(str(path), environ)
    assert environ == {**ENVIRON, "A": "b\nc"}


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(EnvFileError, match=str(path)):
            load(str(path), {})
    path = tmp_path / ".env"
    path.write_bytes(b"A=b\nC=\xff\n")
    with pytest.raises(EnvFileError, match="line 2: not UTF-8"):
        load(str(path), {})
