"""Log: the loggers `penstock`, `penstock.error` (standard error), `penstock.access` (standard output) and `penstock.asgi`.

Ordinary `logging` loggers, under the names people filter by and with the records they read. Handlers that a program
has put on them stay, and then ours are left out. `configuration.py` makes them ready, `access.py` makes the access
log's entries, `outlet.py` sees to it that nobody waits for a reader, `text.py` that nothing forges an entry.
"""

from .access import access_logger as access_logger
from .atoms import wants_response_fields as wants_response_fields
from .configuration import LogConfigError as LogConfigError
from .configuration import configure as configure
from .configuration import flush as flush
from .configuration import tell as tell
from .formatters import TRACE as TRACE
from .text import escape as escape
