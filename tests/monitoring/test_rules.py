"""The alerts and recording rules: promtool's word on them, and what each of them has to have."""

import re
import subprocess

import pytest
import yaml

from deployed import DOCUMENT, ROOT, RULE_TESTS, RULES, alerts, matchers, metrics, records, rules, selectors

RUNBOOKS = ROOT / "docs/runbooks"
# What Prometheus itself knows of each target.
FROM_PROMETHEUS = {"up"}
TARGET_LABELS = {"job", "instance", "namespace"}


def promtool(*arguments):
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_rules():
    promtool("check", "rules", *RULES)


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_rules_do_what_their_tests_say(path):
    promtool("test", "rules", path)


@pytest.mark.parametrize("name", alerts())
def test_each_alert_is_tested_firing_and_quiet_on_the_same_metrics(name):
    path = next((path for path in RULE_TESTS if path.stem == name), None)
    assert path, f"deploy/monitoring/rule-tests/{name}.yaml is missing"
    fires, quiet = set(), set()
    for test in yaml.safe_load(path.read_text())["tests"]:
        given = {series["series"].split("{")[0] for series in test["input_series"]}
        for case in test["alert_rule_test"]:
            assert case["alertname"] == name
            (fires if case["exp_alerts"] else quiet).update(given)
    assert fires, "no test in which it fires"
    assert quiet, "no test in which it stays quiet"
    assert fires <= quiet, f"quiet only because there is no {fires - quiet}"


@pytest.mark.parametrize("name, rule", alerts().items())
def test_each_alert_says_what_is_wrong_and_where_its_page_is(name, rule):
    assert re.fullmatch(r"MinchatBridge[A-Z][A-Za-z]+", name)
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert not rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["description"].endswith(".")
    page = ROOT / rule["annotations"]["runbook_url"]
    assert page.parent == RUNBOOKS
    text = page.read_text()
    assert f"`{name}`" in text.splitlines()[2], "its page does not name it"
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == ["Meaning", "Impact", "What to look at", "What to do"]


def test_each_page_is_of_an_alert_and_its_links_lead_somewhere():
    pages = {ROOT / rule["annotations"]["runbook_url"] for rule in alerts().values()}
    assert set(RUNBOOKS.glob("*.md")) == pages
    for page in [*pages, DOCUMENT]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_the_pages_name_no_command_or_setting_that_is_not_there():
    readme = (ROOT / "README.md").read_text()
    settings = set(re.findall(r"^\| `([a-z_.*]+)`", readme, re.MULTILINE))
    commands = set(re.findall(r"^    (\w[\w-]*)\(", (ROOT / "src/cli/mod.rs").read_text(), re.MULTILINE))
    commands = {re.sub(r"(?<!^)([A-Z])", r"-\1", command).lower() for command in commands}
    for page in [*RUNBOOKS.glob("*.md"), DOCUMENT]:
        text = page.read_text()
        for command in re.findall(r"minchat-bridge ([a-z][a-z-]+)(?: |`)", text):
            assert command in commands, f"{page.name}: minchat-bridge {command}"
        for setting in re.findall(r"`((?:http|admin|kafka|amqp|file|publish|spool|log)\.[a-z_.]+?)(?:: [^`]*)?`", text):
            assert setting in settings, f"{page.name}: {setting}"


def test_rules_select_only_metrics_and_labels_that_there_are():
    known, recorded = metrics(), records()
    for rule in rules():
        name = rule.get("alert") or rule["record"]
        for selector, _ in selectors(rule["expr"]):
            if selector.name in recorded or selector.name in FROM_PROMETHEUS:
                continue
            assert selector.name in known, f"{name}: there is no metric {selector.name}"
            allowed = known[selector.name].labels | TARGET_LABELS
            assert set(matchers(selector)) <= allowed, f"{name}: {selector} has a label that is not there"


def test_a_rule_is_recorded_before_it_is_used():
    seen = set()
    for rule in rules():
        used = {selector.name for selector, _ in selectors(rule["expr"]) if selector.name in records()}
        assert used <= seen, f"{rule.get('alert') or rule['record']} uses {used - seen}"
        seen.add(rule.get("record"))


def test_the_objective_stands_in_one_place():
    expressions = [rule["expr"] for rule in rules() if "ErrorBudget" in rule.get("alert", "")]
    assert records()["minchat_bridge:availability:objective"]["expr"] == "vector(0.999)"
    for expression in expressions:
        assert "scalar(minchat_bridge:availability:objective)" in expression
        assert "0.999" not in expression and "0.001" not in expression
