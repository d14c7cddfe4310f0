"""A child process with pipes; the same on every system, in any thread, with nothing to configure.

Prints:

    it says: HELLO, CHILD
    it ended with 0
    killed: True
"""

import asyncio
import sys

import penstock_reactor

SHOUT = "import sys; sys.stdout.write(sys.stdin.read().upper())"
SLEEP = "import time; time.sleep(3600)"


async def main() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SHOUT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate(b"hello, child")
    print("it says:", output.decode())
    print("it ended with", process.returncode)

    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SLEEP)
    process.kill()
    print("killed:", await process.wait() != 0)


if __name__ == "__main__":
    penstock_reactor.run(main())
