"""The fake upstream as a program: `python -m chatserver.testing.upstream`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib

from chatserver.testing import upstream as package


async def serve(host: str, port: int) -> None:
    upstream = package.FakeUpstream()
    await upstream.start(host, port)
    print(upstream.base_url, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=package.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9100)
    options = parser.parse_args()
    with contextlib.suppress(ImportError):
        import uvloop

        uvloop.install()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(options.host, options.port))


if __name__ == "__main__":
    main()
