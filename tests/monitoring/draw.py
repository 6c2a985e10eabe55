"""Draws the operations dashboard, row by row, from what the test has seen: `draw.py RUN.json DIRECTORY`."""

import json
import re
import sys
from itertools import zip_longest
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter

from deployed import dashboards

DASHBOARD = "minchat-bridge-operations"
TILES_A_LINE = 5
LEGENDS = 6
COLORS = {"green": "#2f8f4e", "orange": "#d98324", "red": "#c4372f"}
OUTAGE = "#f3d3d0"

plt.rcParams.update({"font.size": 8, "axes.titlesize": 9, "axes.titleweight": "bold", "axes.grid": True, "grid.alpha": 0.3, "svg.hashsalt": "same"})


def readable(value, unit):
    """A value as Grafana would write it."""
    if unit == "s":
        for name, size in [("d", 86400), ("h", 3600), ("min", 60), ("s", 1), ("ms", 1e-3)]:
            if abs(value) >= size:
                return f"{value / size:.3g} {name}"
        return "0 s" if value == 0 else f"{value * 1e6:.3g} µs"
    if unit in ("bytes", "Bps"):
        for name, size in [("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)]:
            if abs(value) >= size:
                return f"{value / size:.3g} {name}" + ("/s" if unit == "Bps" else "")
        return f"{value:.3g} B" + ("/s" if unit == "Bps" else "")
    if unit == "percentunit":
        return f"{value:.4g}".rstrip("0").rstrip(".") if value > 1 else f"{100 * value:.4g}%"
    after = {"reqps": " req/s", "eps": " events/s", "ops": " ops/s"}.get(unit, "")
    return f"{value:,.0f}{after}" if value == round(value) or abs(value) >= 100 else f"{value:.3g}{after}"


def legend(template, labels):
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), template).replace("instance", "").strip()


class Run:
    def __init__(self, path):
        run = json.loads(Path(path).read_text())
        self.start, self.end = run["start"], run["ended"]
        self.broken, self.mended = run["broken"], run["mended"]
        self.queries = [query for query in run["queries"] if query["dashboard"] == DASHBOARD]

    def series(self, panel):
        """Pairs of a legend and the points of a panel, in seconds since the start."""
        for query in self.queries:
            if query["panel"] == panel["title"]:
                for series in query["series"]:
                    yield legend(query["legend"], series["metric"]), [(at - self.start, value) for at, value in series["values"]]

    def at_the_end_of_the_outage(self, panel):
        """What a panel of single values showed just before Kafka was started again."""
        moment = self.mended - self.start - 2
        for name, points in self.series(panel):
            shown = [value for at, value in points if moment - 5 <= at <= moment]
            if shown:
                yield name, shown[-1]


def color(panel, value):
    chosen = "green"
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            chosen = step["color"]
    return COLORS[chosen]


def text(panel, value):
    for mapping in panel["fieldConfig"]["defaults"].get("mappings", []):
        if str(int(value)) in mapping["options"]:
            return mapping["options"][str(int(value))]["text"]
    return readable(value, panel["fieldConfig"]["defaults"]["unit"])


def draw_tile(axes, panel, run):
    axes.set_axis_off()
    axes.set_title(panel["title"], loc="left")
    values = list(run.at_the_end_of_the_outage(panel))
    if not values:
        none = panel["fieldConfig"]["defaults"].get("noValue", "no data")
        axes.text(0.5, 0.45, none, ha="center", va="center", fontsize=10, color="gray", transform=axes.transAxes)
    for place, (name, value) in enumerate(values):
        width = 1 / len(values)
        axes.add_patch(plt.Rectangle((place * width, 0), width - 0.02, 0.95, color=color(panel, value), transform=axes.transAxes))
        words = [name, text(panel, value)]
        if panel["options"]["textMode"] == "name":
            words.pop()
        axes.text((place + 0.48) * width, 0.47, "\n".join(filter(None, words)), ha="center", va="center", fontsize=12, color="white", weight="bold", transform=axes.transAxes)


def draw_panel(axes, panel, run):
    axes.set_title(panel["title"], loc="left")
    axes.axvspan(run.broken - run.start, run.mended - run.start, color=OUTAGE, zorder=0)
    found = sorted(run.series(panel), key=lambda series: -max(value for _, value in series[1]))
    timeline = panel["type"] == "state-timeline"
    for place, (name, points) in enumerate(found):
        if timeline:
            draw_states(axes, panel, place, points)
        else:
            axes.plot(*zip(*points), label=name[:48] if name and place < LEGENDS else None, linewidth=1.3)
    axes.set_xlim(0, run.end - run.start)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{int(at) // 60}:{int(at) % 60:02}"))
    if timeline:
        axes.set_yticks(range(len(found)), [name.split(" ")[0] for name, _ in found])
        axes.grid(False)
        return
    unit = panel["fieldConfig"]["defaults"]["unit"]
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: readable(value, unit)))
    if found:
        most = max(value for _, points in found for _, value in points)
        axes.set_ylim(bottom=0, top=1.1 * most or 1)
    if any(name for name, _ in found):
        axes.legend(loc="upper left", fontsize=6, framealpha=0.7)
    if not found:
        none = panel["fieldConfig"]["defaults"].get("noValue", "no data")
        axes.text(0.5, 0.5, none, ha="center", va="center", color="gray", transform=axes.transAxes)


def draw_states(axes, panel, line, points):
    for at, value in points:
        axes.barh(line, 1.05, left=at, height=0.7, color=color_of_state(panel, value), linewidth=0)


def color_of_state(panel, value):
    for mapping in panel["fieldConfig"]["defaults"].get("mappings", []):
        return COLORS[mapping["options"][str(int(value))]["color"]]
    return color(panel, value)


def draw_row(title, panels, run, directory):
    tiles = [panel for panel in panels if panel["type"] == "stat"]
    charts = [panel for panel in panels if panel["type"] in ("timeseries", "state-timeline")]
    each = min(24 // panel["gridPos"]["w"] for panel in charts)
    lines = [(0.8, draw_tile, TILES_A_LINE, part) for part in parts(tiles, TILES_A_LINE)]
    lines += [(2.3, draw_panel, each, part) for part in parts(charts, each)]
    heights = [line[0] for line in lines]
    figure = plt.figure(figsize=(12, sum(heights) * 1.25 + 0.3), layout="constrained")
    figure.suptitle(f"{title}: the shaded time is without Kafka" + ("; single values are those at its end" if tiles else ""), fontsize=9, color="gray")
    places = figure.subfigures(len(lines), 1, height_ratios=heights, squeeze=False)[:, 0]
    for place, (_, draw, each, part) in zip(places, lines):
        for axes, panel in zip_longest(place.subplots(1, each, squeeze=False)[0], part):
            axes.set_axis_off() if panel is None else draw(axes, panel, run)
    name = re.sub(r"\W+", "-", title.lower())
    figure.savefig(directory / f"dashboard-{name}.png", dpi=100, metadata={"Software": None})
    plt.close(figure)


def parts(panels, each):
    return [panels[first : first + each] for first in range(0, len(panels), each)]


def main():
    run, directory = Run(sys.argv[1]), Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    title, panels = None, []
    for panel in dashboards()[DASHBOARD]["panels"] + [{"type": "row", "title": None}]:
        if panel["type"] == "row":
            if panels:
                draw_row(title, panels, run, directory)
            title, panels = panel["title"], []
        else:
            panels.append(panel)


if __name__ == "__main__":
    main()
