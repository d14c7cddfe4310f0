"""Each module's coverage from its own test file alone: a module tested by accident is not tested.

One run of all tests in which every covered line remembers the test functions that ran it. A line counts for a
module when a test of its mirror ran it, or when it runs at import. Prints; what is enough is for a reader to judge.
"""

import sys
from pathlib import Path

import coverage
import pytest

from test_layers import Module, mirror_of, modules


def main() -> int:
    """Run the tests, print a line a module; the tests' own exit code."""
    measured = coverage.Coverage(data_file=None, config_file="pyproject.toml")
    measured.set_option("run:dynamic_context", "test_function")
    # A child process cannot say which test it works for.
    measured.set_option("run:patch", [])
    with measured.collect():
        code = pytest.main(["--quiet", *sys.argv[1:]])
    print("\nlines run by: its own test file, all tests")
    for name, module in modules().items():
        if module.path.name != "__init__.py":
            print(_line(measured, name, module))
    return int(code)


def _line(measured: coverage.Coverage, name: str, module: Module) -> str:
    _, statements, _, missing, _ = measured.analysis2(str(module.path))
    if not statements:
        return f"{'-':>5} {'-':>6}  {name}"
    mirror = mirror_of(name)
    ran_by = measured.get_data().contexts_by_lineno(str(module.path))
    prefix = ".".join(mirror.relative_to(Path.cwd()).with_suffix("").parts) + "."
    own = {line for line, tests in ran_by.items() if any(not test or test.startswith(prefix) for test in tests)}
    mine = len(own & set(statements)) / len(statements)
    every = 1 - len(missing) / len(statements)
    return f"{mine:5.0%} {every:6.0%}  {name}" + ("" if mirror.is_file() else "  (no test file)")


if __name__ == "__main__":
    sys.exit(main())
