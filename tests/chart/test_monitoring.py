"""What watches it. The rules and dashboards of the tests are put into a copy of the chart."""

import json
from pathlib import Path

import yaml

from charts import Object, copy_of_chart, kinds, merged, only, render, workload
from conftest import MINIMAL, SETS

RULES = {
    "groups": [
        {
            "name": "from-a-file",
            "rules": [
                {
                    "alert": "MinchatBridgeSlow",
                    "expr": 'histogram_quantile(0.99, rate(minchat_bridge_x_bucket{job=~".+"}[5m])) > 1',
                    "for": "5m",
                    "annotations": {"summary": '{{ $labels.pod }}: {{ $value | printf "%.1f" }} s'},
                }
            ],
        }
    ]
}
DASHBOARD = json.dumps({"title": "Bridge", "panels": [{"legendFormat": "{{ destination }}"}]}, indent=2)


def chart_with_files(directory: Path) -> Path:
    chart = copy_of_chart(directory)
    for folder in ("rules", "dashboards"):
        (chart / "files" / folder).mkdir(parents=True, exist_ok=True)
    (chart / "files/rules/test.yaml").write_text(yaml.safe_dump(RULES))
    (chart / "files/dashboards/Some_Board.json").write_text(DASHBOARD)
    return chart


def chart_without_files(directory: Path) -> Path:
    chart = copy_of_chart(directory)
    for file in [*chart.glob("files/rules/*"), *chart.glob("files/dashboards/*")]:
        file.unlink()
    return chart


def everything(objects: list[Object]) -> list[Object]:
    boards = [one for one in objects if "grafana_dashboard" in one["metadata"]["labels"]]
    return [one for one in objects if one["kind"] in ("ServiceMonitor", "PodMonitor", "PrometheusRule")] + boards


def test_one_set_of_labels_and_one_namespace_are_for_all(tmp_path: Path) -> None:
    found = everything(render(SETS["monitoring"], chart=chart_with_files(tmp_path)))
    assert len(found) >= 3
    for one in found:
        assert one["metadata"]["labels"]["release"] == "kube-prometheus-stack"
        assert one["metadata"]["namespace"] == "monitoring"


def test_a_service_monitor_finds_the_admin_port_of_every_pod() -> None:
    objects = render(SETS["monitoring"])
    spec = only(objects, "ServiceMonitor")["spec"]
    services = [one for one in objects if one["kind"] == "Service"]
    selected = [one for one in services if spec["selector"]["matchLabels"].items() <= one["metadata"]["labels"].items()]
    assert [one["metadata"]["name"] for one in selected] == ["rel-minchat-bridge-headless"]
    (endpoint,) = spec["endpoints"]
    assert endpoint["port"] in [port["name"] for port in selected[0]["spec"]["ports"]]
    assert (endpoint["path"], endpoint["interval"], endpoint["scrapeTimeout"]) == ("/metrics", "15s", "10s")
    assert spec["namespaceSelector"] == {"matchNames": ["ns"]}


def test_a_pod_monitor_finds_the_pods() -> None:
    objects = render(SETS["openshift"])
    spec = only(objects, "PodMonitor")["spec"]
    labels = workload(objects)["spec"]["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    assert spec["podMetricsEndpoints"] == [{"port": "admin", "path": "/metrics"}]


def test_rules_are_taken_as_they_are(tmp_path: Path) -> None:
    rule = only(render(SETS["monitoring"], chart=chart_with_files(tmp_path)), "PrometheusRule")
    groups = {group["name"]: group for group in rule["spec"]["groups"]}
    assert groups["from-a-file"] == RULES["groups"][0]
    assert groups["mine"]["rules"][0]["annotations"]["summary"] == "Nothing from {{ $labels.job }}"


def test_the_objective_and_the_place_of_the_runbooks_are_values() -> None:
    on = {"enabled": True, "objective": 0.9995, "runbookBaseUrl": "https://wiki.example.com/bridge/"}
    rule = only(render(merged(MINIMAL, {"monitoring": {"prometheusRule": on}})), "PrometheusRule")
    rules = [rule for group in rule["spec"]["groups"] for rule in group["rules"]]
    [objective] = [rule["expr"] for rule in rules if rule.get("record") == "minchat_bridge:availability:objective"]
    assert objective == "vector(0.9995)"
    pages = {rule["annotations"]["runbook_url"] for rule in rules if "alert" in rule}
    assert pages and all(page.startswith("https://wiki.example.com/bridge/Minchat") for page in pages)


def test_dashboards_are_taken_as_they_are(tmp_path: Path) -> None:
    objects = render(SETS["monitoring"], chart=chart_with_files(tmp_path))
    board = only(objects, "ConfigMap", "-dashboard-some-board")
    assert board["data"] == {"Some_Board.json": DASHBOARD}
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert board["metadata"]["annotations"] == {"grafana_folder": "MinChat"}


def test_without_files_nothing_is_made_of_them(tmp_path: Path) -> None:
    on = {"monitoring": {"prometheusRule": {"enabled": True}, "dashboards": {"enabled": True}}}
    objects = render(merged(MINIMAL, on), chart=chart_without_files(tmp_path))
    assert "PrometheusRule" not in kinds(objects)
    assert everything(objects) == []
