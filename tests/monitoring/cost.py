"""What watching costs: how long `/metrics` takes to answer while a thousand connections post, in a measure and as fast as they can, and
how many series it has.

    cost.py [SECONDS]

Starts a Kafka, a RabbitMQ and the bridge that MINCHAT_BRIDGE names (by default the release build), and loads it with wrk. Prints what
it measured; nothing fails for being slow.
"""

import http.client
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deployed import ROOT
from scene import TOKEN, Bridge, Node, directory_for

CONNECTIONS = 1000
PROMISED_MS = 5  # at a thousand connections
LUA = f"""
wrk.method = "POST"
wrk.headers["authorization"] = "Bearer {TOKEN}"
wrk.body = io.open("{ROOT}/src/minchat/samples/message-sent.current.json"):read("*a")
"""
# What each connection rests between two webhooks, in ms; none: all that the machine gives.
LOADS = {"two webhooks a second on each connection": 500, "as fast as they can": None}


def scrapes(bridge, seconds):
    """Milliseconds of one answer after the other, ten a second, on a connection that is kept; and the last answer."""
    connection, took = http.client.HTTPConnection(bridge.admin, timeout=20), []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.perf_counter()
        connection.request("GET", "/metrics")
        answer = connection.getresponse().read().decode()
        took.append((time.perf_counter() - begun) * 1000)
        time.sleep(0.1)
    return sorted(took), answer


def within(took):
    return sum(each <= PROMISED_MS for each in took) / len(took)


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    os.environ.setdefault("MINCHAT_BRIDGE", str(ROOT / "target/release/minchat-bridge"))
    with tempfile.TemporaryDirectory() as directory:
        directory = Path(directory)
        script = directory / "post.lua"
        with Node("kafka", directory / "kafka") as kafka, Node("rabbitmq", directory / "rabbitmq") as rabbitmq:
            with Bridge(directory_for("bridge", directory), kafka.address(), rabbitmq.address()) as bridge:
                measure(bridge, script, seconds)


def measure(bridge, script, seconds):
    idle, text = scrapes(bridge, 3)
    series = sum(not line.startswith("#") for line in text.splitlines())
    print(f"/metrics: {len(text)} bytes, {series} series")
    told("idle", idle)
    for name, rest in LOADS.items():
        script.write_text(LUA if rest is None else f"{LUA}\nfunction delay() return {rest} end\n")
        load(name, bridge, script, seconds)


def load(name, bridge, script, seconds):
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", script, f"http://{bridge.webhooks}/webhooks/minchat"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as wrk:
        time.sleep(2)  # until all are connected
        connections = bridge.metric("http_connections")
        took, _ = scrapes(bridge, seconds - 4)
        output = wrk.communicate()[0]
    rate = re.search(r"Requests/sec:\s+(\S+)", output)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    told(f"{connections:.0f} connections, {name} ({rate[1]} a second, {refused[1] if refused else 0} refused)", took)


def told(load, took):
    at = lambda share: took[min(len(took) - 1, int(len(took) * share))]
    print(f"{load}: {len(took)} answers, p50 {at(0.5):.2f} ms, p99 {at(0.99):.2f} ms, most {took[-1]:.2f} ms; {within(took):.0%} within {PROMISED_MS} ms")


if __name__ == "__main__":
    main()
