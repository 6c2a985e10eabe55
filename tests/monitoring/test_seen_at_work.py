"""Rules and dashboards at work: a bridge, Kafka, RabbitMQ and Prometheus, webhooks of every kind, an outage and wrong credentials.

What was seen is kept in target/monitoring/run.json, from which `make monitoring-pictures` draws.
"""

import contextlib
import http.client
import json
import re
import time

import pytest

from deployed import ROOT, alerts, dashboards, metrics, panels, queries, records, selectors
from scene import Bridge, Load, Node, Prometheus, directory_for, post, wait

RUN = ROOT / "target/monitoring/run.json"

# Metrics that show nothing in this run, and why.
SHOW_NOTHING = {"minchat_bridge_tls_certificate_not_after_timestamp_seconds": "the run's bridge has no certificate"}
# What the run provokes. Nothing else is to fire.
PROVOKED = {
    ("MinchatBridgeBrokerDown", "kafka"),
    ("MinchatBridgeUnauthorized", None),
    ("MinchatBridgeDeadLetters", "kafka"),
    ("MinchatBridgeDeadLetters", "amqp"),
    ("MinchatBridgePayloadDrift", None),
    ("MinchatBridgeUnrecognizedWebhooks", None),
    ("MinchatBridgeLaneWaitsForOperator", "kafka"),
    ("MinchatBridgeLaneWaitsForOperator", "amqp"),
}
REFUSALS = {alert for alert in PROVOKED if alert[0] == "MinchatBridgeLaneWaitsForOperator"}


class Run:
    """What happened, and the Prometheus that saw it."""

    def __init__(self, prometheus, bridge):
        self.prometheus, self.bridge = prometheus, bridge
        self.broken = self.mended = self.ended = None
        self.overview = self.firing_in_the_outage = self.statuses = None


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("seen")
    with contextlib.ExitStack() as stack:
        kafka = stack.enter_context(Node("kafka", directory / "kafka"))
        rabbitmq = stack.enter_context(Node("rabbitmq", directory / "rabbitmq"))
        bridge = stack.enter_context(Bridge(directory_for("bridge", directory), kafka.address(), rabbitmq.address()))
        prometheus = stack.enter_context(Prometheus(directory_for("prometheus", directory), bridge.admin))
        run = Run(prometheus, bridge)
        with Load(bridge.webhooks) as load:
            before_the_outage(run, load, rabbitmq)
            outage(run, kafka)
            recovery(run)
            keep(run)
            refusals(run, kafka, rabbitmq)
        assert load.failure is None, load.failure
        run.statuses = load.statuses
        rest(run)
        yield run


def before_the_outage(run, load, rabbitmq):
    published = 'min(sum by (kind) (minchat_bridge_webhooks_accepted_total{receipt="published"})) > 20'
    wait("events of each kind", lambda: load.failure or run.prometheus.now(published))
    connection = http.client.HTTPConnection(run.bridge.webhooks, timeout=20)
    assert {post(connection, b"{}", token="wrong") for _ in range(40)} == {401}
    assert post(connection, b"this is no JSON") == 400
    rabbitmq.run("ctl", "-q", "close_all_connections", "seen at work")
    wait("RabbitMQ again", lambda: run.prometheus.now('minchat_bridge_broker_reconnects_total{broker="amqp"} > 0'))
    wait("the alert about credentials", lambda: ("MinchatBridgeUnauthorized", None) in run.prometheus.firing())


def outage(run, kafka):
    run.broken = time.time()
    kafka.run("kill")
    wait("the alert", lambda: ("MinchatBridgeBrokerDown", "kafka") in run.prometheus.firing(), within=120)
    run.firing_in_the_outage = run.prometheus.firing()
    run.overview = {
        query.panel: run.prometheus.now(query.written_out())
        for query in queries()
        if query.dashboard == "minchat-bridge-operations"
    }
    kafka.run("start")
    run.mended = time.time()


def recovery(run):
    wait("an empty spool", lambda: run.bridge.metric("spool_events") == 0)
    wait("the end of the alert", lambda: ("MinchatBridgeBrokerDown", "kafka") not in run.prometheus.firing())
    calm = time.time() + 15  # as much as a picture needs to show that it is over
    wait("some time of calm", lambda: time.time() > calm)
    run.ended = time.time()


def refusals(run, kafka, rabbitmq):
    """A topic is gone and a right is missing, until somebody mends both."""
    topic = "minchat.unrecognized.v1"
    kafka.run("topic", "--delete", "--topic", topic)
    rabbitmq.run("ctl", "-q", "set_permissions", "-p", "/", "guest", ".*", "^$", ".*")
    # RabbitMQ keeps what it has found out about rights for as long as a connection lasts.
    rabbitmq.run("ctl", "-q", "close_all_connections", "seen at work")
    wait("the alerts of the lanes that wait", lambda: REFUSALS <= run.prometheus.firing(), within=120)
    rabbitmq.run("ctl", "-q", "set_permissions", "-p", "/", "guest", ".*", ".*", ".*")
    kafka.run("topic", "--create", "--topic", topic, "--partitions", "3")
    wait("an empty spool", lambda: run.bridge.metric("spool_events") == 0)


def rest(run):
    """Nothing is pending any more, and the books balance."""
    wait("lanes at rest", lambda: run.bridge.metric("lane_pending_events") == 0)
    at_rest = "sum(minchat_bridge_lane_pending_events) == 0 and max(abs(destination:minchat_bridge_books:difference)) == 0"
    wait("a scrape of lanes at rest", lambda: run.prometheus.now(at_rest))


def keep(run):
    """For the pictures."""
    units = {(name, panel["title"]): panel["fieldConfig"]["defaults"]["unit"] for name, all in dashboards().items() for panel in panels(all)}
    seen = [
        {
            "dashboard": query.dashboard,
            "panel": query.panel,
            "legend": query.legend,
            "unit": units[query.dashboard, query.panel],
            "series": run.prometheus.over_the_run(query.written_out(), step=1),
        }
        for query in queries()
    ]
    RUN.parent.mkdir(parents=True, exist_ok=True)
    times = {"start": run.prometheus.start, "broken": run.broken, "mended": run.mended, "ended": run.ended}
    RUN.write_text(json.dumps(times | {"queries": seen}))


def shows_nothing(text):
    """Why a query may be without a result here; nothing if it may not."""
    names = {selector.name for selector, _ in selectors(text)}
    return names and names <= set(SHOW_NOTHING)


def test_every_metric_of_the_document_is_shown_and_no_other(run):
    shown = set(re.findall(r"^# TYPE (\w+)", run.bridge.ask("/metrics")[1], re.MULTILINE))
    documented = {re.sub("_(bucket|sum|count)$", "", name) if metric.kind == "histogram" else name for name, metric in metrics().items()}
    assert shown | set(SHOW_NOTHING) == documented


def test_there_are_fewer_than_410_series(run):
    [(_, count)] = run.prometheus.now('count({job="minchat-bridge", __name__=~"(minchat_bridge|process)_.*"})')
    assert count < 410


@pytest.mark.parametrize("query", queries(), ids=str)
def test_no_panel_is_empty(run, query):
    text = query.written_out()
    found = run.prometheus.over_the_run(text)
    if not shows_nothing(text):
        assert found, text


@pytest.mark.parametrize("name", records())
def test_no_recording_rule_is_empty(run, name):
    found = run.prometheus.over_the_run(name)
    if not shows_nothing(records()[name]["expr"]):
        assert found


def test_no_rule_is_in_error(run):
    for group in run.prometheus.get("rules")["groups"]:
        for rule in group["rules"]:
            assert rule["health"] == "ok" and not rule.get("lastError"), rule


@pytest.mark.parametrize("name", alerts())
def test_what_an_alert_selects_is_there(run, name):
    """An alert that is quiet has no result; so each of its selectors is asked by itself."""
    for selector, _ in selectors(alerts()[name]["expr"]):
        text = re.sub(r" offset \S+$", "", str(selector))
        if not shows_nothing(text):
            assert run.prometheus.over_the_run(text), text


def test_the_alert_of_the_outage_fires_and_nothing_fires_that_was_not_provoked(run):
    assert ("MinchatBridgeBrokerDown", "kafka") in run.firing_in_the_outage
    fired = {(series["metric"]["alertname"], series["metric"].get("broker")) for series in run.prometheus.over_the_run('ALERTS{alertstate="firing"}')}
    assert fired == PROVOKED


def test_the_dashboard_tells_during_the_outage_what_is_wrong(run):
    assert {labels["broker"]: value for labels, value in run.overview["Brokers"]} == {"kafka": 0, "amqp": 1}
    [(_, oldest)] = run.overview["Oldest event"]
    assert oldest >= 60, "the alert takes a minute"


def test_and_that_nothing_is_lost(run):
    assert set(run.statuses) == {202}
    [(_, refused)] = run.overview["Refused webhooks"]
    assert refused == 0
    [(_, kept)] = run.overview["Events in the spool"]
    assert kept > 0


def test_and_how_long_the_spool_will_last(run):
    [(_, lasts)] = run.overview["Spool will last"]
    # Twenty webhooks a second of less than 3 KiB, three of eleven of the kind that fills the spool first: half of 1 GiB.
    assert 3600 < lasts < 1000 * 3600
