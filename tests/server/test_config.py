import logging

from penstock.config import LOG_LEVELS, LOGGING_CONFIG, TRACE_LOG_LEVEL


def test_the_names_that_programs_change_are_there() -> None:
    assert set(LOGGING_CONFIG["formatters"]) == {"default", "access"}
    assert LOG_LEVELS == {
        "critical": logging.CRITICAL, "error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO,
        "debug": logging.DEBUG, "trace": TRACE_LOG_LEVEL,
    }  # fmt: skip
