"""`penstock.config`: `Config`, and the default log configuration as a dict, to be changed and given back as `log_config`."""

from .compat import Config
from .log.configuration import LEVELS as LOG_LEVELS
from .log.configuration import LOGGING_CONFIG
from .log.formatters import TRACE as TRACE_LOG_LEVEL

__all__ = ["Config", "LOGGING_CONFIG", "LOG_LEVELS", "TRACE_LOG_LEVEL"]
