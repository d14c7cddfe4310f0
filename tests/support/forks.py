"""A forked child that runs one function and ends, whatever happens in it."""

import os
import warnings
from collections.abc import Callable

WENT_WRONG = 99


def forked(function: Callable[[], object]) -> int:
    """The exit code of a child that runs `function`: what it returns (True and None count as 0), 99 if it raises."""
    with warnings.catch_warnings():
        # Threads of earlier tests may be about to end; the child touches nothing they hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = WENT_WRONG
        try:
            result = function()
            code = 0 if result is None or result is True else int(str(result)) if result is not False else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
