"""`penstock.logging`: the formatters and handlers that a log configuration names, as one written for uvicorn does."""

from .log.formatters import TRACE as TRACE_LOG_LEVEL
from .log.formatters import AccessFormatter, ColourizedFormatter, DefaultFormatter, JsonFormatter
from .log.handlers import StreamHandler

__all__ = ["TRACE_LOG_LEVEL", "AccessFormatter", "ColourizedFormatter", "DefaultFormatter", "JsonFormatter", "StreamHandler"]
