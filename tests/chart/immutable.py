"""What of an object no upgrade can change, because Kubernetes refuses it or makes something new of it.

    python tests/chart/immutable.py

writes released/<version>.yaml for the chart as it is: once for each version, with its release.
"""

from typing import Any

import yaml

from charts import CHART, Object, read, render, value_sets

RELEASED = CHART.parents[1] / "tests" / "chart" / "released"

# Of a StatefulSet's spec Kubernetes lets these change, and no others.
MUTABLE_OF_STATEFUL_SET = {
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
}
# The sets that upgrades are looked at with.
SETS = ("minimal", "both-brokers", "stateless", "everything", "production")


def immutable(one: Object) -> dict[str, Any]:
    """The fields, by path."""
    spec = one.get("spec", {})
    match one["kind"]:
        case "StatefulSet":
            fields = {key: value for key, value in spec.items() if key not in MUTABLE_OF_STATEFUL_SET}
        case "Deployment":
            fields = {"selector": spec["selector"]}
        case "Service":
            # Its first family, and whether it has an address, stay; other fields can be changed.
            fields = {"clusterIP": spec.get("clusterIP", ""), "ipFamily": spec.get("ipFamilies", [""])[0]}
        case _:
            return {}
    return {f"spec.{key}": value for key, value in fields.items()}


def of_chart() -> dict[str, dict[str, dict[str, Any]]]:
    """By set of values and object. An object that has no such fields has none: its name stays all the same, or it would be lost."""
    sets = value_sets()
    return {name: {_named(one): immutable(one) for one in render(sets[name]) if _is_kept(one)} for name in SETS}


def _named(one: Object) -> str:
    return f"{one['kind']}/{one['metadata']['name']}"


def _is_kept(one: Object) -> bool:
    """A volume hangs on the StatefulSet's name, an address on the Service's."""
    return one["kind"] in ("StatefulSet", "Deployment", "Service")


def main() -> None:
    version = read(CHART / "Chart.yaml")["version"]
    file = RELEASED / f"{version}.yaml"
    RELEASED.mkdir(exist_ok=True)
    file.write_text(f"# What chart {version} has made that no upgrade may touch.\n" + yaml.safe_dump(of_chart()))
    print(file)


if __name__ == "__main__":
    main()
