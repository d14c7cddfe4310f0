import os.path
from pathlib import Path

import pytest

from penstock.importer import ImportFromStringError, import_from_string


def test_what_a_text_names_is_imported() -> None:
    assert import_from_string("os:path.join") is os.path.join
    assert import_from_string("os.path:join") is os.path.join
    assert import_from_string(os) is os


@pytest.mark.parametrize("text, message", [
    ("os", 'not of the form "<module>:<attribute>"'), (":app", "not of the form"), ("os:", "not of the form"),
    ("no_such_module:app", 'There is no module "no_such_module"'), ("os:path.none", 'There is no "path.none" in module "os"'),
])
def test_what_is_not_there_is_named(text: str, message: str) -> None:
    with pytest.raises(ImportFromStringError, match=message):
        import_from_string(text)


def test_what_goes_wrong_inside_the_module_is_raised_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_more.py").write_text("import no_such_module_either\n", encoding="ascii")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_module_either"):
        import_from_string("needs_more:app")
