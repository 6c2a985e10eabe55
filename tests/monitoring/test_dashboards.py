"""The dashboards: that they are what their generator writes, and that they keep the rules of Grafana's dashboard linter.

The rules are those that the linter's documentation lists (github.com/grafana/dashboard-linter, docs/index.md), by their names there.
"""

import json
import re
import subprocess

import promql_parser as promql
import pytest

from deployed import DASHBOARDS, MONITORING, dashboards, matchers, metrics, nodes, panels, queries, records, selectors, written_out

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Of Grafana's list of units, those that are in use here.
UNITS = {"short", "none", "percentunit", "s", "bytes", "Bps", "reqps", "eps", "ops"}
FROM_PROMETHEUS = {"up"}

each_dashboard = pytest.mark.parametrize("dashboard", dashboards().values(), ids=dashboards())
each_panel = pytest.mark.parametrize(
    "panel", [pytest.param(panel, id=f"{name}/{panel['title']}") for name, dashboard in dashboards().items() for panel in panels(dashboard)]
)
each_query = pytest.mark.parametrize("query", queries(), ids=str)


def variables(dashboard):
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


def test_they_are_what_the_generator_writes(tmp_path):
    subprocess.run([MONITORING / "generate-dashboards", tmp_path], check=True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {path.name: path.read_text() for path in DASHBOARDS}
    assert len(DASHBOARDS) == 2


@each_dashboard
def test_template_datasource_rule(dashboard):
    found = [variable for variable in dashboard["templating"]["list"] if variable["type"] == "datasource"]
    assert [(variable["name"], variable["label"], variable["query"]) for variable in found] == [("datasource", "Data source", "prometheus")]


@each_dashboard
@pytest.mark.parametrize("name", ["job", "instance"])
def test_template_job_rule_and_template_instance_rule(dashboard, name):
    variable = variables(dashboard)[name]
    assert (variable["type"], variable["label"], variable["datasource"]) == ("query", name, DATASOURCE)
    assert variable["multi"] and variable["includeAll"] and variable["allValue"] == ".+"


@each_dashboard
def test_template_label_promql_rule_and_template_on_time_change_reload_rule(dashboard):
    known = metrics()
    for variable in dashboard["templating"]["list"]:
        if variable["type"] != "query":
            continue
        assert variable["refresh"] == 2, "to be asked again when the time range changes"
        asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        [(selector, _)] = selectors(written_out(asked[1]))
        assert asked[2] in known[selector.name].labels | {"job", "instance"}


@each_dashboard
def test_uneditable_dashboard_rule(dashboard):
    assert dashboard["editable"] is False


@each_panel
def test_panel_datasource_rule(panel):
    assert panel["datasource"] == DATASOURCE
    assert all(target["datasource"] == DATASOURCE for target in panel["targets"])


@each_panel
def test_panel_title_description_rule(panel):
    assert panel["title"] and panel["description"].endswith(".")


@each_panel
def test_panel_units_rule(panel):
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS


@each_panel
def test_panel_no_targets_rule(panel):
    assert panel["targets"]


@each_query
def test_target_promql_rule(query):
    promql.parse(query.written_out())


@each_query
def test_target_rate_interval_rule(query):
    marked = query.written_out(__rate_interval="4321s")
    for node, above in nodes(promql.parse(marked)):
        if isinstance(node, promql.MatrixSelector) and above[-1].func.name in ("rate", "irate", "deriv"):
            assert node.range.total_seconds() == 4321, query.text


@each_query
def test_target_job_rule_and_target_instance_rule(query):
    marked = query.written_out(job="THE-JOB", instance="THE-INSTANCE")
    for selector, _ in selectors(marked):
        for name, value in [("job", "THE-JOB"), ("instance", "THE-INSTANCE")]:
            matcher = matchers(selector).get(name)
            assert matcher and str(matcher.op) == str(promql.MatchOp.Re) and matcher.value == value, query.text


@each_query
def test_target_counter_agg_rule(query):
    for selector, above in selectors(query.written_out()):
        if selector.name.endswith("_total"):
            call = above[-2]
            assert isinstance(call, promql.Call) and call.func.name in ("rate", "irate", "increase"), query.text


@each_query
def test_queries_select_only_metrics_and_labels_that_there_are(query):
    known, recorded = metrics(), records()
    for selector, _ in selectors(query.written_out()):
        if selector.name in recorded or selector.name in FROM_PROMETHEUS:
            continue
        assert selector.name in known, f"there is no metric {selector.name}"
        assert set(matchers(selector)) <= known[selector.name].labels | {"job", "instance"}


def test_every_metric_is_on_a_dashboard():
    shown = {selector.name for query in queries() for selector, _ in selectors(query.written_out())}
    for name in metrics():
        if name.endswith(("_sum", "_count")) or name in NOT_SHOWN:
            continue
        assert name in shown, f"{name} is on no dashboard"


# What the operations dashboard has as annotations, or what says nothing on a dashboard.
NOT_SHOWN = {"minchat_bridge_config_last_reload_timestamp_seconds", "process_threads", "process_virtual_memory_bytes"}


@each_dashboard
def test_restarts_and_reloads_are_marked(dashboard):
    marks = {mark["name"]: mark for mark in dashboard["annotations"]["list"]}
    assert set(marks) == {"Restarts", "Reloads"}
    for mark in marks.values():
        assert mark["datasource"] == DATASOURCE and mark["useValueForTime"]
        [(selector, _)] = selectors(written_out(mark["expr"]))
        assert selector.name in metrics() and {"job", "instance"} <= set(matchers(selector))


@each_dashboard
def test_nothing_names_an_installation(dashboard):
    text = json.dumps(dashboard)
    assert not re.search(r"https?://|localhost|\d+\.\d+\.\d+\.\d+", text)
    assert "id" not in dashboard, "the number that one Grafana gave it"
    for variable in dashboard["templating"]["list"]:
        assert variable["current"] in ({}, {"text": ["All"], "value": ["$__all"]}) and variable["options"] == []
        assert variable["regex"] == ""


@each_dashboard
def test_panels_have_their_places(dashboard):
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"], f"{panel['title']} covers {taken[x, y]}"
