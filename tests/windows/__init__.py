"""The tests on CPython for Windows, under Wine: `make test-windows`."""
