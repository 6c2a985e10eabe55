"""What watching costs: how long `/metrics` takes to answer while a thousand connections post as fast as they can, and how many series it has.

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
PROMISED_MS = 5
LUA = f"""
wrk.method = "POST"
wrk.headers["authorization"] = "Bearer {TOKEN}"
wrk.body = io.open("{ROOT}/src/minchat/samples/message-sent.current.json"):read("*a")
"""


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


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    os.environ.setdefault("MINCHAT_BRIDGE", str(ROOT / "target/release/minchat-bridge"))
    with tempfile.TemporaryDirectory() as directory:
        directory = Path(directory)
        script = directory / "post.lua"
        script.write_text(LUA)
        with Node("kafka", directory / "kafka") as kafka, Node("rabbitmq", directory / "rabbitmq") as rabbitmq:
            with Bridge(directory_for("bridge", directory), kafka.address(), rabbitmq.address()) as bridge:
                measure(bridge, script, seconds)


def measure(bridge, script, seconds):
    idle, _ = scrapes(bridge, 3)
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", script, f"http://{bridge.webhooks}/webhooks/minchat"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as wrk:
        time.sleep(2)  # until all are connected
        connections = bridge.metric("http_connections")
        loaded, text = scrapes(bridge, seconds - 4)
        output = wrk.communicate()[0]
    rate = re.search(r"Requests/sec:\s+(\S+)", output)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    series = sum(not line.startswith("#") for line in text.splitlines())
    print(f"{len(text)} bytes, {series} series; {connections:.0f} connections, {rate[1]} webhooks a second, {refused[1] if refused else 0} of them refused")
    for name, took in [("idle", idle), ("under load", loaded)]:
        at = lambda share: took[min(len(took) - 1, int(len(took) * share))]
        print(f"/metrics {name}: {len(took)} answers, p50 {at(0.5):.2f} ms, p99 {at(0.99):.2f} ms, most {took[-1]:.2f} ms; promised {PROMISED_MS} ms")


if __name__ == "__main__":
    main()
