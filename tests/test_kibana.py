"""The saved objects for Kibana hang together, are in Kibana's form, and use the fields that the template maps.

The form is that of ``src/platform/plugins/shared/{dashboard,saved_search,data_views}/server`` in Kibana's own sources.
No Kibana runs here: that one takes the file is not shown.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from support import kibana

from auditsplit.sinks.elasticsearch import template

VERSIONS = {"index-pattern": "8.0.0", "search": "10.5.0", "dashboard": "10.2.0"}

ATTRIBUTES = {
    "index-pattern": {"title", "name", "timeFieldName", "allowNoIndex"},
    "search": {
        *("title", "description", "columns", "sort", "grid", "rowHeight", "rowsPerPage", "hideChart", "breakdownField"),
        *("kibanaSavedObjectMeta", "isTextBasedQuery", "usesAdHocDataView", "timeRestore", "timeRange", "viewMode"),
        *("refreshInterval", "hideAggregatedPreview", "sampleSize", "headerRowHeight", "visContext", "density"),
    },
    "dashboard": {
        *("title", "description", "kibanaSavedObjectMeta", "timeRestore", "timeFrom", "timeTo", "refreshInterval"),
        *("controlGroupInput", "panelsJSON", "optionsJSON", "hits", "version"),
    },
}
"""The attributes that the forms of `VERSIONS` have: schema_legacy.ts (model version 5), schema/v1 and v2."""


def mapped(field: str) -> str | None:
    """Return the type that the template gives ``field``, None where there is no such field."""
    found: Any = template.MAPPINGS
    for name in field.split("."):
        found = found.get("properties", {}).get(name)
        if found is None:
            return None
    kind: str | None = found.get("type")
    return kind


def sources() -> Iterator[tuple[str, str]]:
    """Yield each panel's title with each field that its columns and its KQL name."""
    for title, panel in kibana.lenses().items():
        queries = [panel.query, *(column.get("filter", {}).get("query", "") for column in panel.columns.values())]
        for field in itertools.chain(*map(kibana.fields, queries)):
            yield title, field
        for column in panel.columns.values():
            if column["operationType"] != "count":
                yield title, column["sourceField"]


def test_the_file_is_what_the_script_writes() -> None:
    """A change to one of them is a change to both."""
    script = [sys.executable, str(kibana.FOLDER / "generate.py")]

    written = subprocess.run(script, capture_output=True, text=True, check=True).stdout

    assert written == kibana.FILE.read_text()


@pytest.mark.parametrize("kind", VERSIONS)
def test_an_object_is_of_the_form_that_it_says(kind: str) -> None:
    """Its version is one that Kibana has, and its attributes are those of that version."""
    found = kibana.saved_objects()[kind]

    assert (found["coreMigrationVersion"], found["typeMigrationVersion"]) == ("8.8.0", VERSIONS[kind])
    assert set(found["attributes"]) <= ATTRIBUTES[kind]


def test_all_references_are_to_objects_of_the_file() -> None:
    """So that the import asks for nothing else."""
    objects = kibana.saved_objects()
    ids = {(kind, found["id"]) for kind, found in objects.items()}

    for found in objects.values():
        names = [reference["name"] for reference in found["references"]]
        assert len(names) == len(set(names))
        assert {(reference["type"], reference["id"]) for reference in found["references"]} <= ids


def test_the_dashboard_refers_to_what_its_panels_and_controls_need() -> None:
    """To no more, and to no less."""
    wanted = {f"controlGroup_{name}:optionsListDataView" for name in kibana.controls()}
    for panel in kibana.panels():
        inner = panel["embeddableConfig"].get("attributes", {}).get("references", [])
        names = [panel["panelRefName"]] if "panelRefName" in panel else [reference["name"] for reference in inner]
        wanted |= {f"{panel['panelIndex']}:{name}" for name in names}

    assert {reference["name"] for reference in kibana.saved_objects()["dashboard"]["references"]} == wanted


def test_a_layer_is_referred_to_by_its_own_name() -> None:
    """Lens looks for ``indexpattern-datasource-layer-<layer>``."""
    for panel in kibana.panels():
        attributes = panel["embeddableConfig"].get("attributes")
        if attributes:
            [layer] = attributes["state"]["datasourceStates"]["formBased"]["layers"]
            [reference] = attributes["references"]

            assert reference["name"] == f"indexpattern-datasource-layer-{layer}"


def test_the_search_source_refers_to_the_data_view() -> None:
    """By the name that the reference has."""
    found = kibana.saved_objects()["search"]

    source = json.loads(found["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])

    assert [reference["name"] for reference in found["references"]] == [source["indexRefName"]]


def test_a_panel_shows_the_columns_that_it_has() -> None:
    """And the values of a field are ordered by a column that is there."""
    for panel in kibana.lenses().values():
        shown = json.dumps(panel.visualization)
        assert all(f'"{name}"' in shown for name in panel.columns)
        for column in panel.columns.values():
            if column["operationType"] == "terms":
                assert column["params"]["orderBy"]["columnId"] in panel.columns


def test_every_field_can_be_searched_and_counted() -> None:
    """The template maps it, to a type that has values to count."""
    used = [*sources(), *(("control", each["explicitInput"]["fieldName"]) for each in kibana.controls().values())]
    used += [("search", column) for column in kibana.saved_objects()["search"]["attributes"]["columns"]]

    types = {(title, field): mapped(field) for title, field in used}

    assert {found for found in types.items() if found[1] not in {"keyword", "ip", "date", "integer"}} == set()


def test_no_panel_lies_on_another() -> None:
    """And none is beyond the 48 columns that a dashboard has."""
    cells = []
    for panel in kibana.panels():
        grid = panel["gridData"]
        rows, columns = range(grid["y"], grid["y"] + grid["h"]), range(grid["x"], grid["x"] + grid["w"])
        cells += list(itertools.product(rows, columns))
        assert (grid["i"], columns.stop <= 48) == (panel["panelIndex"], True)

    assert len(cells) == len(set(cells))
