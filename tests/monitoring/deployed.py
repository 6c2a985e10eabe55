"""What is in deploy/monitoring and what is written about it, read for the tests."""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import promql_parser as promql
import yaml

ROOT = Path(__file__).resolve().parents[2]
MONITORING = ROOT / "deploy/monitoring"
RULES = sorted((MONITORING / "rules").glob("*.yaml"))
RULE_TESTS = sorted((MONITORING / "rule-tests").glob("*.yaml"))
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
DOCUMENT = ROOT / "docs/monitoring.md"

# What Grafana puts in place of its variables, so that a query can be parsed and asked: everything is chosen, the last minute counts.
VARIABLES = {"$__rate_interval": "20s", "$__range": "10m", "$job": ".+", "$instance": ".+", "$broker": ".+", "$destination": ".+"}


@dataclass(frozen=True)
class Query:
    """One query of a panel."""

    dashboard: str
    panel: str
    letter: str
    text: str
    legend: str

    def __str__(self):
        return f"{self.dashboard} / {self.panel} / {self.letter}"

    def written_out(self, **instead):
        return written_out(self.text, **instead)


def written_out(text, **instead):
    values = VARIABLES | {"$" + name: value for name, value in instead.items()}
    for name in sorted(values, key=len, reverse=True):
        text = text.replace(name, values[name])
    assert "$" not in text, f"a variable that nobody gives a value: {text}"
    return text


@cache
def rules():
    """Every rule, in the order of evaluation."""
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


@cache
def alerts():
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


@cache
def records():
    return {rule["record"]: rule for rule in rules() if "record" in rule}


@cache
def dashboards():
    return {path.stem: json.loads(path.read_text()) for path in DASHBOARDS}


def panels(dashboard):
    """Those that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


@cache
def queries():
    return [
        Query(name, panel["title"], target["refId"], target["expr"], target["legendFormat"])
        for name, dashboard in dashboards().items()
        for panel in panels(dashboard)
        for target in panel["targets"]
    ]


def nodes(expression, above=()):
    """Every part of a parsed expression, with what it stands in, outermost first."""
    yield expression, above
    inner = above + (expression,)
    for name in ("lhs", "rhs", "expr", "param", "vector_selector"):
        part = getattr(expression, name, None)
        if isinstance(part, promql.Expr):
            yield from nodes(part, inner)
    for argument in getattr(expression, "args", None) or []:
        if isinstance(argument, promql.Expr):
            yield from nodes(argument, inner)


def selectors(text):
    """Every selector of a query, with what it stands in."""
    found = [(node, above) for node, above in nodes(promql.parse(text)) if isinstance(node, promql.VectorSelector)]
    assert found or "vector(" in text, f"selects nothing: {text}"
    return found


def matchers(selector):
    return {matcher.name: matcher for matcher in selector.matchers.matchers}


@dataclass(frozen=True)
class Metric:
    """A row of the table in docs/monitoring.md, which is held to the code's by `cargo test --test monitoring`."""

    kind: str
    labels: frozenset


@cache
def metrics():
    """The metrics, by the names that their series have."""
    rows = re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \| ([^|]*) \|", DOCUMENT.read_text(), re.MULTILINE)
    found = {}
    for name, kind, labels in rows:
        labels = frozenset(re.findall(r"`(\w+)`", labels))
        if kind == "histogram":
            found |= {name + "_bucket": Metric(kind, labels | {"le"}), name + "_sum": Metric(kind, labels), name + "_count": Metric(kind, labels)}
        else:
            found[name] = Metric(kind, labels)
    assert found, "docs/monitoring.md has no table of metrics"
    return found
