"""Settings: everything that can be chosen, as one frozen value.

Each field carries its own documentation (`doc`): help text, group, allowed range or choices. The command
line, the checks and the option table of the docs are all drawn from the fields, so that a new option is
written once. No I/O; every room but `codec` may read this one.
"""

from dataclasses import dataclass, field, fields
from typing import Any

from .options import Option, did_you_mean, doc, option_of

LOG_LEVELS = ("critical", "error", "warning", "info", "debug", "trace")
LIFESPAN_MODES = ("auto", "on", "off")
RELOAD_MODES = ("overlap", "restart")
WEBSOCKETS = ("auto", "websockets", "websockets-sansio", "wsproto", "none")
INTERFACES = ("auto", "asgi3", "asgi2", "wsgi")


_ADDRESS, _APP, _LOGS, _ANSWERS = "Address", "Application", "Logs", "Answers"
_PROXIES = "Behind a proxy"
_PROCESSES = "Processes and reload"
_TLS = "TLS (https)"
_WEBSOCKETS = "WebSockets"
_TIMEOUTS, _LIMITS = "Timeouts, in seconds", "Limits"
_TAKEN = "Taken for uvicorn's sake"

# A field line (RFC 9110 5), but none of those that frame a message.
_HEADER = r"(?!(?i:content-length|transfer-encoding|connection|keep-alive|upgrade|te|trailer):)[A-Za-z0-9_!#$%&'*+.^`|~-]+:[\t -~\x80-\xff]*"
_HEADER_WORDS = "NAME:VALUE, a name of letters, digits and hyphens that says nothing of a message's length or connection"

_PATH = ("[^\0]+", "a path")
_LARGEST = 2**31 - 1

# The shortest time limit: zero would mean "at once" to one reader and "never" to another.
_SHORTEST = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration. ValueError names the option and what is allowed."""

    host: tuple[str, ...] = field(default=("127.0.0.1",), metadata=doc(
        "Address or host name to listen on; 0.0.0.0 is every IPv4 address, :: every address. May be given again.",
        group=_ADDRESS, metavar="HOST"))
    port: int = field(default=8000, metadata=doc(
        "TCP port to listen on; 0 picks a free one.",
        group=_ADDRESS, metavar="PORT", minimum=0, maximum=65535))
    uds: str | None = field(default=None, metadata=doc(
        "Listen on a Unix socket of this name instead; one that a dead server left behind is replaced.",
        group=_ADDRESS, metavar="PATH", shape=_PATH))
    uds_mode: str = field(default="666", metadata=doc(
        "Who may connect to it: the permissions of the socket file.",
        group=_ADDRESS, metavar="OCTAL", shape=("0?[0-7]{3}", "three octal digits, such as 660")))
    uds_owner: str | None = field(default=None, metadata=doc(
        "Whose it is: USER, USER:GROUP or :GROUP.",
        group=_ADDRESS, metavar="OWNER", shape=("[^:]+(:[^:]+)?|:[^:]+", "USER, USER:GROUP or :GROUP")))
    fd: int | None = field(default=None, metadata=doc(
        "Listen on a socket that was opened before; its descriptor. systemd's (LISTEN_FDS) are taken without being named.",
        group=_ADDRESS, metavar="N", minimum=0, maximum=_LARGEST))
    backlog: int = field(default=2048, metadata=doc(
        "Connections the kernel may hold that have not been accepted yet.",
        group=_ADDRESS, metavar="N", minimum=1, maximum=_LARGEST))
    ready_file: str | None = field(default=None, metadata=doc(
        "Write addresses and process id here, as JSON, when requests are taken; removed at the end.",
        group=_ADDRESS, metavar="PATH", shape=_PATH))

    app_dir: str | None = field(default="", metadata=doc(
        "Folder the application is imported from; put first on the import path. Empty is the current folder.",
        group=_APP, metavar="DIR"))
    factory: bool = field(default=False, metadata=doc(
        "Call what is named, with no arguments, and serve what it returns.",
        group=_APP))
    interface: str = field(default="auto", metadata=doc(
        "How the application is called; auto sees it by its parameters.",
        group=_APP, metavar="KIND", choices=INTERFACES))
    env_file: str | None = field(default=None, metadata=doc(
        "File of environment variables (NAME=value), for the application; what the environment has already stays.",
        group=_APP, metavar="FILE"))
    wsgi_threads: int = field(default=16, metadata=doc(
        "Most requests that a WSGI application works on at once, each in a thread; further ones wait.",
        group=_APP, metavar="N", minimum=1))
    lifespan: str = field(default="auto", metadata=doc(
        "Whether the application is told of start and stop; auto carries on when it does not know how.",
        group=_APP, metavar="MODE", choices=LIFESPAN_MODES))
    root_path: str = field(default="", metadata=doc(
        "Path prefix under which a proxy publishes the application, such as /api.",
        group=_APP, metavar="PATH", shape=("(/.*)?", "empty, or a path that begins with /")))

    ssl_certfile: tuple[str, ...] = field(default=(), metadata=doc(
        "Certificate chain (PEM); with it https is spoken. Again for another host name (SNI).",
        group=_TLS, metavar="FILE"))
    ssl_keyfile: tuple[str, ...] = field(default=(), metadata=doc(
        "Private key (PEM) of each certificate, in the same order; left out, it is in the certificate's file.",
        group=_TLS, metavar="FILE"))
    ssl_keyfile_password: str | None = field(default=None, metadata=doc(
        "Password of the private keys. Better in $PENSTOCK_SSL_KEYFILE_PASSWORD, which nobody can list.",
        group=_TLS, metavar="TEXT"))
    ssl_version: int = field(default=17, metadata=doc(
        "Protocol as Python's ssl module numbers it; 17 is every version that is safe.",
        group=_TLS, metavar="N", minimum=0))
    ssl_cert_reqs: int = field(default=0, metadata=doc(
        "Whether clients show a certificate: 0 no, 1 if they like, 2 they must.",
        group=_TLS, metavar="N", minimum=0, maximum=2))
    ssl_ca_certs: str | None = field(default=None, metadata=doc(
        "Certificates (PEM) of those who may sign the clients' certificates.",
        group=_TLS, metavar="FILE"))
    ssl_ciphers: str | None = field(default=None, metadata=doc(
        "Ciphers for TLS 1.2, as OpenSSL writes them; none is its choice.",
        group=_TLS, metavar="LIST"))

    workers: int | None = field(default=None, metadata=doc(
        "Processes that serve; none is 1.",
        group=_PROCESSES, metavar="N", minimum=1))
    reload: bool = field(default=False, metadata=doc(
        "Serve the new code when a file is saved, without losing a request.",
        group=_PROCESSES))
    reload_dirs: tuple[str, ...] = field(default=(), metadata=doc(
        "Folder to watch; may be given again. The current folder when left out.",
        group=_PROCESSES, metavar="DIR"))
    reload_includes: tuple[str, ...] = field(default=(), metadata=doc(
        "Pattern of files to watch, beside *.py; may be given again.",
        group=_PROCESSES, metavar="GLOB"))
    reload_excludes: tuple[str, ...] = field(default=(), metadata=doc(
        "Pattern of files and folders not to watch, beside .* .py[cod] .sw.* ~*; may be given again.",
        group=_PROCESSES, metavar="GLOB"))
    reload_delay: float = field(default=0.25, metadata=doc(
        "Seconds between two looks at the files.",
        group=_PROCESSES, metavar="SECONDS", minimum=0.01))
    reload_dry_run: bool = field(default=False, metadata=doc(
        "Print what --reload watches and why, and leave.",
        group=_PROCESSES))
    reload_mode: str = field(default="overlap", metadata=doc(
        "Whether new code starts beside the old, or when the old is gone, for applications that cannot live twice.",
        group=_PROCESSES, metavar="MODE", choices=RELOAD_MODES))
    smoke: tuple[str, ...] = field(default=(), metadata=doc(
        "Path that must be answered below 500 before requests are taken; may be given again.",
        group=_PROCESSES, metavar="PATH", shape=("/.*", "a path that begins with /")))
    limit_max_requests: int | None = field(default=None, metadata=doc(
        "Answers after which a worker is replaced; without a supervisor, after which the server ends.",
        group=_PROCESSES, metavar="N", minimum=1))
    limit_max_requests_jitter: int = field(default=0, metadata=doc(
        "Up to so many more, by chance for each worker, lest all are replaced at once.",
        group=_PROCESSES, metavar="N", minimum=0))
    worker_lifetime: float | None = field(default=None, metadata=doc(
        "Seconds after which a worker is replaced, and up to a tenth more by chance.",
        group=_PROCESSES, metavar="SECONDS", minimum=1))
    limit_worker_memory: int | None = field(default=None, metadata=doc(
        "Resident memory above which a worker is replaced.",
        group=_PROCESSES, metavar="MIB", minimum=1))
    timeout_worker_healthcheck: float = field(default=5.0, metadata=doc(
        "Silence of a worker, in seconds, after which its stacks are shown; after twelve times that it is replaced.",
        group=_PROCESSES, metavar="SECONDS", minimum=1))
    control: str = field(default="", metadata=doc(
        "Where penstock ctl finds the supervisor: the path of a Unix socket; on Windows of a file that says where.",
        group=_PROCESSES, metavar="PATH"))

    log_level: str = field(default="info", metadata=doc(
        "The least severe messages that are shown; info leaves those that a log configuration shows.",
        group=_LOGS, metavar="LEVEL", choices=LOG_LEVELS))
    access_log: bool = field(default=True, metadata=doc(
        "Write one line for every request answered, to standard output.",
        group=_LOGS))
    access_log_format: str | None = field(default=None, metadata=doc(
        "What such a line says, in gunicorn's atoms, such as '%(h)s %(t)s %(r)s %(s)s %(D)s'.",
        group=_LOGS, metavar="FORMAT"))
    log_json: bool = field(default=False, metadata=doc(
        "Write both logs as JSON, one object a line.",
        group=_LOGS))
    log_config: str | dict[str, Any] | None = field(default="", metadata=doc(
        "File of a configuration for Python's logging instead: .json, .toml, .yaml (with PyYAML), else .ini.",
        group=_LOGS, metavar="FILE", takes_table=True))
    request_id_header: str = field(default="", metadata=doc(
        "Field a request's id is taken from, for the access log; one is made where it is missing.",
        group=_LOGS, metavar="NAME"))
    use_colors: bool | None = field(default=None, metadata=doc(
        "Colour the logs; none is on a terminal, unless $NO_COLOR is set.",
        group=_LOGS))

    proxy_headers: bool = field(default=True, metadata=doc(
        "Believe X-Forwarded-For and X-Forwarded-Proto of the proxies that are trusted.", group=_PROXIES))
    forwarded_allow_ips: str = field(default="127.0.0.1,::1", metadata=doc(
        "Which proxies these are, with commas: addresses, networks, unix for Unix sockets, or * for everybody.",
        group=_PROXIES, metavar="LIST"))
    forwarded_headers: str = field(default="", metadata=doc(
        "What else to believe of them, with commas: host, port and prefix of X-Forwarded-, and rfc7239 for Forwarded.",
        group=_PROXIES, metavar="FIELDS", shape=(
            "((host|port|prefix|rfc7239)(,(?=.)|$))*", "some of host, port, prefix and rfc7239, with commas between them")))
    drop_untrusted_forwarded: bool = field(default=False, metadata=doc(
        "Leave such fields out of requests that come from anybody else.", group=_PROXIES))

    proxy_protocol: bool = field(default=False, metadata=doc(
        "Expect the PROXY protocol, version 1 or 2, before anything else on each connection.", group=_PROXIES))
    proxy_protocol_allow_ips: str = field(default="127.0.0.1,::1", metadata=doc(
        "Who may speak it, written like the proxies above; others are closed.", group=_PROXIES, metavar="LIST"))

    server_header: bool = field(default=True, metadata=doc(
        "Send a Server header.", group=_ANSWERS))
    date_header: bool = field(default=True, metadata=doc(
        "Send a Date header.", group=_ANSWERS))
    headers: tuple[str, ...] = field(default=(), metadata=doc(
        "Header of every response, beside those of the application; may be given again.",
        group=_ANSWERS, metavar="NAME:VALUE", shape=(_HEADER, _HEADER_WORDS)))
    disconnect: str = field(default="raise", metadata=doc(
        "What an application sees that sends to a client that is gone: ClientDisconnected (an OSError), or nothing.",
        group=_ANSWERS, metavar="HOW", choices=("raise", "silent")))

    ws: str = field(default="auto", metadata=doc(
        "none answers those who ask for a WebSocket as any other request. The other words all mean the one there is.",
        group=_WEBSOCKETS, metavar="KIND", choices=WEBSOCKETS))
    ws_max_size: int = field(default=16777216, metadata=doc(
        "Largest message, decompressed; above it the WebSocket is closed with code 1009.",
        group=_WEBSOCKETS, metavar="BYTES", minimum=1))
    ws_max_queue: int = field(default=32, metadata=doc(
        "Most messages that wait for the application; with more nothing is read from the client.",
        group=_WEBSOCKETS, metavar="N", minimum=1))
    ws_ping_interval: float | None = field(default=20.0, metadata=doc(
        "Seconds between two pings; none sends none.",
        group=_WEBSOCKETS, metavar="SECONDS", minimum=_SHORTEST))
    ws_ping_timeout: float | None = field(default=20.0, metadata=doc(
        "Silence after a ping, after which the client is given up with code 1011; none waits for ever.",
        group=_WEBSOCKETS, metavar="SECONDS", minimum=_SHORTEST))
    ws_per_message_deflate: bool = field(default=True, metadata=doc(
        "Compress messages (permessage-deflate) for clients that can.",
        group=_WEBSOCKETS))
    ws_accept_timeout: float | None = field(default=30.0, metadata=doc(
        "Time the application has to accept or refuse a WebSocket; above it 503. none waits for ever.",
        group=_WEBSOCKETS, metavar="SECONDS", minimum=_SHORTEST))

    timeout_keep_alive: float = field(default=5.0, metadata=doc(
        "Idle time between two requests on one connection.",
        group=_TIMEOUTS, metavar="SECONDS", minimum=0))
    timeout_handshake: float = field(default=10.0, metadata=doc(
        "Time in which a TLS handshake must be done.",
        group=_TIMEOUTS, metavar="SECONDS", minimum=_SHORTEST))
    timeout_first_byte: float = field(default=10.0, metadata=doc(
        "Wait for the first byte on a new connection.",
        group=_TIMEOUTS, metavar="SECONDS", minimum=_SHORTEST))
    timeout_head: float = field(default=10.0, metadata=doc(
        "Time in which the whole head of a request must arrive.",
        group=_TIMEOUTS, metavar="SECONDS", minimum=_SHORTEST))
    timeout_body: float = field(default=30.0, metadata=doc(
        "Longest silence within the body of a request.",
        group=_TIMEOUTS, metavar="SECONDS", minimum=_SHORTEST))
    timeout_write: float = field(default=30.0, metadata=doc(
        "Longest time a client may take nothing of its answer.",
        group=_TIMEOUTS, metavar="SECONDS", minimum=_SHORTEST))
    timeout_startup: float | None = field(default=60.0, metadata=doc(
        "Time the application has to start; none waits for ever.",
        group=_TIMEOUTS, metavar="SECONDS", minimum=_SHORTEST))
    timeout_graceful_shutdown: float | None = field(default=10.0, metadata=doc(
        "Time running requests have to finish when the server stops; 0 is none at all, none waits for ever.",
        group=_TIMEOUTS, metavar="SECONDS", minimum=0))
    timeout_reload: float | None = field(default=5.0, metadata=doc(
        "The same for the old code at a reload, while the new serves already.",
        group=_TIMEOUTS, metavar="SECONDS", minimum=0))
    timeout_shutdown: float | None = field(default=10.0, metadata=doc(
        "Time the application has to stop; none waits for ever.",
        group=_TIMEOUTS, metavar="SECONDS", minimum=_SHORTEST))

    limit_head: int = field(default=65536, metadata=doc(
        "Largest head of a request (request line and header fields together); above it 431, or 414.",
        group=_LIMITS, metavar="BYTES", minimum=1))
    limit_fields: int = field(default=100, metadata=doc(
        "Most header fields in a request; above it 431.",
        group=_LIMITS, metavar="N", minimum=1))
    limit_body: int | None = field(default=None, metadata=doc(
        "Largest body of a request; above it 413.",
        group=_LIMITS, metavar="BYTES", minimum=0))
    min_body_rate: int = field(default=240, metadata=doc(
        "Slowest average speed at which the body of a request may arrive; 0 does not look.",
        group=_LIMITS, metavar="BYTES/S", minimum=0))
    limit_concurrency: int | None = field(default=None, metadata=doc(
        "Most requests running at once; above it 503.",
        group=_LIMITS, metavar="N", minimum=1))
    limit_connections: int | None = field(default=None, metadata=doc(
        "Most connections open at once; above it 503.",
        group=_LIMITS, metavar="N", minimum=1))
    limit_connections_per_client: int | None = field(default=None, metadata=doc(
        "Most connections from one address; above it 503. Behind a proxy every client has the proxy's address.",
        group=_LIMITS, metavar="N", minimum=1))

    lenient_requests: bool = field(default=False, metadata=doc(
        "Take methods in lower case, and octets above ASCII in targets, as some old clients send them.",
        group=_LIMITS))
    drop_underscores: bool = field(default=False, metadata=doc(
        "Leave out header fields with _ in their names, which WSGI cannot tell from those with -.",
        group=_LIMITS))

    loop: str = field(default="auto", metadata=doc(
        "Which event loop.", group=_TAKEN, metavar="NAME", choices=("auto", "asyncio", "none"),
        instead="penstock runs on its own event loop, which needs nothing installed"))
    http: str = field(default="auto", metadata=doc(
        "Which HTTP parser.", group=_TAKEN, metavar="NAME", choices=("auto", "h11", "httptools"),
        instead="penstock has one HTTP/1.1 parser, its own"))
    http2: bool = field(default=False, metadata=doc(
        "Whether to speak HTTP/2.", group=_TAKEN, maximum=0,
        instead="penstock speaks HTTP/1.1; a proxy before it may speak HTTP/2 with the clients"))
    h11_max_incomplete_event_size: int | None = field(default=None, metadata=doc(
        "Another name for --limit-head, where that is not given.", group=_TAKEN, metavar="BYTES", minimum=1))
    reset_contextvars: bool = field(default=False, metadata=doc(
        "Whether a request has a context of its own.", group=_TAKEN,
        instead="penstock gives each request a fresh context in any case"))

    def __post_init__(self) -> None:
        for option in options():
            value = option.gather(getattr(self, option.name))
            object.__setattr__(self, option.name, value)
            option.check(value)


def from_options(given: dict[str, Any]) -> Settings:
    """Settings from keywords; TypeError names an unknown one and the nearest that exists."""
    known = [option.name for option in options()]
    for name in given:
        if name not in known:
            raise TypeError(f"penstock has no option {name!r}" + did_you_mean(name, known))
    return Settings(**given)


def options() -> tuple[Option, ...]:
    """Every field of Settings, in the order of the class."""
    return _OPTIONS


_OPTIONS = tuple(option_of(entry) for entry in fields(Settings))
