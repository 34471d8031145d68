"""The outside world of the live shop: an acquirer and a card issuer. The only simulated part of the demo.

A process of its own, not instrumented, as a third party is: `python -m obsvty.demo.world`. It takes a free
loopback port, writes its number to stdout, and ends when its stdin does, so that it never outlives the demo.
"""

import asyncio
import json
import math
import random
import sys
from collections.abc import Mapping
from typing import Final

# Median answer times in seconds. Three issuer checks in a row are what the guilty commit adds to a checkout.
MEDIAN_S: Final[Mapping[str, float]] = {
    "/acquirer/charge": 0.085,
    "/issuer/bin": 0.115,
    "/issuer/avs": 0.115,
    "/issuer/velocity": 0.115,
}
_OTHER_S: Final = 0.02
_SIGMA: Final = 0.08  # of the log-normal: a quiet third party, p95 about 14 % above the median


def answer_time_s(path: str, random_source: random.Random) -> float:
    """Seconds that the third party takes for one request to `path`, drawn from a log-normal."""
    return MEDIAN_S.get(path, _OTHER_S) * math.exp(random_source.gauss(0, _SIGMA))


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, random_source: random.Random
) -> None:
    """Requests of one keep-alive connection, until the client goes."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            path = head[0].split(" ")[1]
            lengths = [line.partition(":")[2] for line in head if line.lower().startswith("content-length:")]
            await reader.readexactly(int(lengths[0]) if lengths else 0)
            await asyncio.sleep(answer_time_s(path, random_source))
            body = json.dumps({"ok": True}).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
                + body
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the client closed its connection
    finally:
        writer.close()


async def _serve() -> None:
    random_source = random.Random(7)  # noqa: S311 # answer times, not keys

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _answer(reader, writer, random_source)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.buffer.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve())
