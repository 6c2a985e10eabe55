"""docs/monitoring.md: what it shows is there, and what it says to write works."""

import re
import subprocess

import yaml

from deployed import DOCUMENT, ROOT, RULES, alerts

TEXT = DOCUMENT.read_text()


def snippets():
    return re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_the_table_of_alerts_has_each_with_its_severity_and_page():
    rows = re.findall(r"^\| \[`(\w+)`\]\(([\w./]+)\) \| (\w+) \| .+ \|$", TEXT, re.MULTILINE)
    assert rows == [(name, rule["annotations"]["runbook_url"].removeprefix("docs/"), rule["labels"]["severity"]) for name, rule in alerts().items()]


def test_the_pictures_are_of_the_dashboard_and_each_is_shown():
    shown = set(re.findall(r"\]\(images/([\w-]+\.png)\)", TEXT))
    assert shown == {path.name for path in (ROOT / "docs/images").glob("dashboard-*.png")} != set()


def test_prometheus_takes_the_scrape_configuration(tmp_path):
    [snippet] = [snippet for snippet in snippets() if "scrape_configs" in snippet]
    config = tmp_path / "prometheus.yml"
    config.write_text(snippet.replace("deploy/monitoring", str(ROOT / "deploy/monitoring")))
    done = subprocess.run(["promtool", "check", "config", config], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(RULES)} rule files found" in done.stdout


def test_the_service_monitor_carries_the_label_of_the_stack():
    [monitor] = [yaml.safe_load(snippet) for snippet in snippets() if "ServiceMonitor" in snippet]
    assert monitor["metadata"]["labels"]["release"]
