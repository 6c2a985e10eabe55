"""The parts of a run: brokers, a bridge, a Prometheus, somebody who posts. Each ends with its `with`."""

import http.client
import itertools
import json
import os
import re
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

from deployed import ROOT, RULES

TOKEN = "a-token-of-this-run-alone"
PATIENCE = 90


def wait(what, look, within=PATIENCE):
    """Looks until there is something, and gives it."""
    deadline = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {within} s"
        time.sleep(0.1)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def process(command, log, directory):
    with open(log, "w") as file:
        return subprocess.Popen(list(map(str, command)), stdout=file, stderr=file, stdin=subprocess.DEVNULL, cwd=directory)


def end(child):
    child.terminate()
    try:
        child.wait(timeout=30)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


class Node:
    """A broker of the run's own, by the script of its name under tests/brokers."""

    def __init__(self, broker, directory):
        self.script, self.directory = ROOT / "tests/brokers" / broker, directory

    def run(self, verb, *arguments):
        done = subprocess.run([self.script, verb, self.directory, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def address(self):
        return re.search(r"=(.*)$", self.run("env").strip())[1].strip("'\"")

    def __enter__(self):
        self.run("start")
        return self

    def __exit__(self, *_):
        for verb in ("kill", "stop"):  # it may be gone already; `stop` ends what a killed one leaves
            subprocess.run([self.script, verb, self.directory], capture_output=True)


class Bridge:
    def __init__(self, directory, kafka, amqp):
        self.directory, self.log = directory, directory / "bridge.log"
        self.config = directory / "bridge.yaml"
        self.config.write_text(
            f"http: {{listen: '127.0.0.1:0'}}\nadmin: {{listen: '127.0.0.1:0'}}\n"
            f"sources: {{minchat: {{auth: {{tokens: ['{TOKEN}']}}}}}}\n"
            f"kafka: {{bootstrap_servers: '{kafka}', create_topics: {{partitions: 3, replication_factor: 1}}}}\n"
            f"amqp: {{uri: '{amqp}'}}\nspool: {{dir: '{directory}/spool', keep_free: 0%}}\nlog: {{format: json}}\n"
        )

    def __enter__(self):
        binary = os.environ.get("MINCHAT_BRIDGE", ROOT / "target/debug/minchat-bridge")
        self.child = process([binary, "serve", "--config", self.config], self.log, self.directory)
        self.webhooks = wait("the listener", lambda: self.find(r"post webhooks to http://([\d.:]+)"))
        self.admin = wait("the admin listener", lambda: self.find(r"version at http://([\d.:]+)"))
        wait("readiness", lambda: self.status("/readyz") == 200)
        return self

    def find(self, pattern):
        assert self.child.poll() is None, self.log.read_text()
        found = re.search(pattern, self.log.read_text())
        return found and found[1]

    def ask(self, path):
        connection = http.client.HTTPConnection(self.admin, timeout=20)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def status(self, path):
        return self.ask(path)[0]

    def metric(self, name):
        """The sum of its series."""
        lines = re.findall(rf"^minchat_bridge_{name}(?:{{.*}})? (\S+)$", self.ask("/metrics")[1], re.MULTILINE)
        assert lines, f"no {name}"
        return sum(map(float, lines))

    def __exit__(self, *_):
        end(self.child)


class Prometheus:
    """Debian's, with the rules, once a second."""

    def __init__(self, directory, target):
        self.directory, self.log = directory, directory / "prometheus.log"
        self.address = f"127.0.0.1:{free_port()}"
        rules = json.dumps([str(path) for path in RULES])
        (directory / "prometheus.yaml").write_text(
            f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: {rules}\n"
            f"scrape_configs: [{{job_name: minchat-bridge, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )

    def __enter__(self):
        command = ["prometheus", "--config.file=prometheus.yaml", f"--web.listen-address={self.address}", "--storage.tsdb.path=data", "--log.level=warn"]
        self.child = process(command, self.log, self.directory)
        self.start = time.time()
        wait("a first scrape", lambda: self.is_there() and self.now("minchat_bridge_build_info"))
        return self

    def is_there(self):
        assert self.child.poll() is None, self.log.read_text()
        try:
            return urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=5).status == 200
        except OSError:
            return False

    def get(self, path, **parameters):
        try:
            with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=30) as answer:
                answer = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error
        assert answer["status"] == "success" and not answer.get("warnings"), f"{parameters}: {answer}"
        return answer["data"]

    def now(self, query):
        """The samples of this moment: pairs of labels and value."""
        data = self.get("query", query=query)
        assert data["resultType"] == "vector"
        return [(sample["metric"], float(sample["value"][1])) for sample in data["result"]]

    def over_the_run(self, query, step=2):
        """The series of the run, as Grafana would draw them; what is no number is left out."""
        found = self.get("query_range", query=query, start=self.start, end=time.time(), step=step)["result"]
        for series in found:
            series["values"] = [[at, float(value)] for at, value in series["values"] if value != "NaN"]
        return [series for series in found if series["values"]]

    def firing(self):
        return {(alert["labels"]["alertname"], alert["labels"].get("broker")) for alert in self.get("alerts")["alerts"] if alert["state"] == "firing"}

    def __exit__(self, *_):
        end(self.child)


SAMPLES = [path.read_bytes() for path in sorted((ROOT / "src/minchat/samples").glob("*.json"))]
# Beside the samples of every kind and generation: one of no known kind, and one with a key that nobody has seen.
OTHERS = [b'{"greeting": "hello"}', b'{"sent_by": {"id": "u1"}, "sent_to": [], "chat_id": "c1", "text": "hi", "mood": "good"}']


class Load:
    """Posts a webhook of every kind in turn, up to twenty a second, and counts the answers."""

    def __init__(self, address):
        self.address, self.statuses, self.failure = address, {}, None
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        connection = http.client.HTTPConnection(self.address, timeout=20)
        try:
            for payload in itertools.cycle(SAMPLES + OTHERS):
                if self.stopped.wait(0.05):
                    return
                self.count(post(connection, payload))
        except Exception as failure:  # told by the test, which sees the thread's end
            self.failure = failure

    def count(self, status):
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()


def post(connection, payload, token=TOKEN):
    connection.request("POST", "/webhooks/minchat", payload, {"authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def directory_for(name, parent):
    path = Path(parent) / name
    path.mkdir()
    return path
