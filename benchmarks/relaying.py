"""The served API beside other relays: answers as they stream, and whole answers as fast as they go."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

from benchmarks import machine
from benchmarks.load import Answering, Shape, Tally, percentile_ms, verdict
from benchmarks.servers import MODELS, Bench, Running, free_port, process, wait_for
from benchmarks.wire import Wire

LITELLM = "BENCH_LITELLM"
"""Names the `litellm` of an environment of its own; without it that relay is left out."""
LITELLM_KEY = "sk-bench-3f9d2c71a08b4e65"
"""It starts with no weak one."""
CLIENTS = 32
WHOLE_MODEL = "bench-stamp-n20"
QUESTION = [{"role": "user", "content": "Tell me a story."}]

NGINX = """
worker_processes 1; daemon off; error_log stderr; pid {folder}/nginx.pid;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream models {{ server 127.0.0.1:{upstream}; keepalive 512; }}
  server {{
    listen 127.0.0.1:{port}; keepalive_requests 1000000;
    location / {{
      proxy_pass http://models; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


class Relayed:
    """A chat by way of something that speaks the common format: one request, relayed."""

    def __init__(self, running: Running, key: str) -> None:
        self.running, self.key = running, key

    async def chat(self, wire: Wire, shape: Shape, tally: Tally, turn: int) -> str:
        watch = Answering(tally, time.monotonic(), shape.wait_s)
        body = {"model": shape.model, "messages": QUESTION, "stream": True}
        answer = await wire.ask("POST", "/v1/chat/completions", key=self.key, body=body, on_body=watch)
        return verdict(answer.status, watch.seen, shape, b"[DONE]" in answer.body[-200:])

    async def answer(self, wire: Wire) -> bool:
        body = {"model": WHOLE_MODEL, "messages": QUESTION}
        answer = await wire.ask("POST", "/v1/chat/completions", key=self.key, body=body)
        return answer.status == 200 and b"choices" in answer.body


class Whole(NamedTuple):
    """cpu_ms: of the relay's, per answer."""

    per_s: float
    p50: float
    p99: float
    cpu_ms: float
    failed: int


async def measure_whole(target: Relayed, seconds: float) -> Whole:
    """Clients that ask again as soon as they were answered."""
    times: list[float] = []
    failed = 0
    begin = time.monotonic() + 1
    end = begin + seconds

    async def keep_asking() -> None:
        nonlocal failed
        wire = target.running.wire()
        try:
            while (asked := time.monotonic()) < end:
                went_well = await target.answer(wire)
                if asked >= begin:
                    failed += not went_well
                    times.append(time.monotonic() - asked)
        finally:
            wire.close()

    tasks = [asyncio.create_task(keep_asking()) for _ in range(CLIENTS)]
    await asyncio.sleep(max(0.0, begin - time.monotonic()))
    cpu = machine.cpu_s(target.running.pid)
    await asyncio.gather(*tasks)
    cpu = machine.cpu_s(target.running.pid) - cpu
    per_s = len(times) / seconds
    return Whole(per_s, percentile_ms(times, 50), percentile_ms(times, 99), cpu / max(1, len(times)) * 1000, failed)


@contextlib.asynccontextmanager
async def nginx(bench: Bench) -> AsyncIterator[Running | None]:
    """None where there is none."""
    found = shutil.which("nginx")
    if found is None:
        yield None
        return
    port = free_port()
    folder = bench.folder / "nginx"
    folder.mkdir(exist_ok=True)
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, upstream=bench.upstream_port, port=port))
    command = [found, "-p", str(folder), "-c", str(file)]
    with bench.log("nginx") as log, process(command, machine.SERVER_CPU, log) as running:
        await wait_for(port, running)
        yield Running(running.pid, port)


@contextlib.asynccontextmanager
async def litellm(bench: Bench) -> AsyncIterator[Running | None]:
    """Without a database behind it, as it comes. None where nobody named it."""
    found = os.environ.get(LITELLM, "")
    if not found:
        yield None
        return
    port = free_port()
    base = f"http://127.0.0.1:{bench.upstream_port}/v1"
    lines = ["model_list:"]
    for model in MODELS:
        lines += [f"  - model_name: {model}", "    litellm_params:"]
        lines += [f"      model: openai/{model}", f"      api_base: {base}", "      api_key: bench"]
    file = bench.folder / "litellm.yaml"
    file.write_text("\n".join(lines) + "\n")
    command = [found, "--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
    with (
        bench.log("litellm") as log,
        process(command, machine.SERVER_CPU, log, LITELLM_MASTER_KEY=LITELLM_KEY) as running,
    ):
        await wait_for(port, running)
        yield Running(running.pid, port)


def versions() -> str:
    """Of the relays measured beside ours, as far as they tell."""
    found = []
    for command in ([shutil.which("nginx") or "", "-v"], [os.environ.get(LITELLM, ""), "--version"]):
        if command[0]:
            told = subprocess.run(command, capture_output=True, text=True, check=False)
            found.append(" ".join((told.stdout + told.stderr).split())[:80])
    return "; ".join([f"Python {sys.version.split()[0]}", *found])
