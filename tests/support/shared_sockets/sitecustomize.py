"""Windows' way of giving a socket to another process, on Linux: `socket.share` and `socket.fromshare`.

With this folder on PYTHONPATH every process has them, so that the supervisor and its workers take the way they take on
Windows; and lacks what Windows has not (`strict_windows.py`). A blob is good for one use, in the process it was made for, as there.
"""

import importlib
import os
import secrets
import socket
import struct
import threading
from typing import Any, cast

_MARK = b"SHARED"
_SIZE = 372
"""Octets of a WSAPROTOCOL_INFOW."""

# Kept: they are taken away (`strict_windows.py`), and on Windows, where this is imported and not used, there are none.
AF_UNIX, send_fds, recv_fds = cast(tuple[Any, Any, Any], tuple(getattr(socket, name, None) for name in ("AF_UNIX", "send_fds", "recv_fds")))

NOT_A_SOCKET, INVALID = 10038, 10022


def share(sock: socket.socket, pid: int) -> bytes:
    """A blob with which the process `pid`, and no other, can have the socket."""
    name = b"\0" + secrets.token_hex(8).encode()
    door = socket.socket(AF_UNIX)
    door.bind(name)
    door.listen(1)
    door.settimeout(30)
    copy = os.dup(sock.fileno())
    threading.Thread(target=_give, args=(door, copy, pid), daemon=True).start()
    return (_MARK + name).ljust(_SIZE, b".")


def fromshare(blob: bytes) -> socket.socket:
    """The socket behind a blob. Like Windows' it is thought to be blocking, whatever the original is."""
    caller = socket.socket(AF_UNIX)
    with caller:
        try:
            caller.connect(blob[len(_MARK) :].rstrip(b"."))
            _, descriptors, _, _ = recv_fds(caller, 2, 1)
        except OSError:
            raise OSError(INVALID, "the blob was used already") from None
    if not descriptors:
        raise OSError(NOT_A_SOCKET, "the blob was made for another process")
    return socket.socket(fileno=descriptors[0])


def _give(door: socket.socket, copy: int, pid: int) -> None:
    with door:
        try:
            caller, _ = door.accept()
            with caller:
                credentials = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
                if struct.unpack("iII", credentials)[0] == pid:
                    send_fds(caller, [b"ok"], [copy])
        except OSError:
            pass
        finally:
            os.close(copy)


if __name__ == "sitecustomize":
    # At the start of an interpreter; as a module of the tests it changes nothing.
    _socket: Any = socket
    _socket.socket.share = share
    _socket.fromshare = fromshare
    importlib.import_module("strict_windows").take_away()
