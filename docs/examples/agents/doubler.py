"""A native agent: it gets numbers and answers with their doubles, until it is stopped."""

import asyncio

import runloop
from runloop.client import Work
from runloop.errors import InvalidInput


async def double(work: Work) -> dict[str, list[float]]:
    """What is wrong with the work is said with an error; its ``retryable`` tells whether to try again."""
    numbers = work.inputs.get("in", [])
    if not all(isinstance(number, (int, float)) for number in numbers):
        raise InvalidInput("give numbers on the port in", code="doubler.numbers")
    return {"out": [2 * number for number in numbers]}


async def main() -> None:
    """Find the daemon, announce, work."""
    async with runloop.Client(agent="doubler") as client:
        await client.serve(double)


if __name__ == "__main__":
    asyncio.run(main())
