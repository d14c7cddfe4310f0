import pytest

from penstock.log.text import each_second, escape, tame


@pytest.mark.parametrize("text, written", [
    ("one\nINFO:     forged", "one\n    INFO:     forged"),
    ("one\n\ntwo", "one\n\n    two"),
    ("colour \x1b[31m", "colour \\x1b[31m"),
    ("back \r\x08\x9b", "back \\x0d\\x08\\x9b"),
    ("turned \u202e\u2028", "turned \\u202e\\u2028"),
    ("tab\tand umlaut ä", "tab\tand umlaut ä"),
])
def test_no_message_can_forge_an_entry_or_steer_a_terminal(text: str, written: str) -> None:
    assert tame(text) == written


@pytest.mark.parametrize("text, written", [
    ("/plain?a=b", "/plain?a=b"),
    ('/" 200\nINFO: x', "/\\x22 200\\x0aINFO: x"),
    ("/\x1b[2J\\", "/\\x1b[2J\\x5c"),
    ("/é\u202e\U0001f600", "/\\xe9\\u202e\\U0001f600"),
])
def test_what_a_client_chose_is_printable_ascii_without_quotes(text: str, written: str) -> None:
    assert escape(text) == written


def test_a_text_of_the_time_is_made_once_a_second() -> None:
    asked: list[int] = []

    def make(second: int) -> str:
        asked.append(second)
        return str(second)

    text = each_second(make)
    assert [text(now) for now in (5.0, 5.9, 6.0, 5.5)] == ["5", "5", "6", "5"]
    assert asked == [5, 6, 5]
