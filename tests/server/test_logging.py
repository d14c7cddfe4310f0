import logging.config

import penstock.logging
from penstock.log import TRACE


def test_the_names_that_log_configurations_use_are_there() -> None:
    assert penstock.logging.TRACE_LOG_LEVEL == TRACE
    made = [getattr(penstock.logging, f"{kind}Formatter")() for kind in ("Default", "Access", "Colourized", "Json")]
    assert all(isinstance(each, logging.Formatter) for each in made)
    assert issubclass(penstock.logging.StreamHandler, logging.StreamHandler)


def test_the_standard_librarys_module_of_that_name_is_left_alone() -> None:
    assert logging.getLogger is not None and logging.config.dictConfig is not None
    assert logging is not penstock.logging
