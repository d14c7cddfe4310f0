"""Bytes to events and back: HTTP/1.1 without a socket, a clock or a log (sans-I/O)."""
