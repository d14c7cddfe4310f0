"""Many processes behind one set of sockets: workers, reload and restart, the same way on every platform."""
