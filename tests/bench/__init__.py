"""The benchmark: penstock beside other ASGI servers, in interleaved rounds on one core.

`make bench` runs it. `__main__` holds the rounds, `servers` starts and stops what is measured,
`load` makes the requests, `figures` reads what they cost, `report` prints it.
"""
