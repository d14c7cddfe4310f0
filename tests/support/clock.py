"""A clock that moves only when a test moves it: limits pass without waiting for them."""


class Clock:
    """Called, it tells the time, like `loop.time`."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
