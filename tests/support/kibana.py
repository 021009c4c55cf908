"""What infra/kibana/auditsplit.ndjson holds, taken apart; for the tests that need no Kibana."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parents[2] / "infra" / "kibana"
FILE = FOLDER / "auditsplit.ndjson"


class Lens(NamedTuple):
    """A Lens panel: its columns by id, in their order, its KQL, and how it shows them."""

    columns: dict[str, dict[str, Any]]
    query: str
    visualization: dict[str, Any]


def saved_objects() -> dict[str, dict[str, Any]]:
    """Return the saved objects, each under its type."""
    objects = [json.loads(line) for line in FILE.read_text().splitlines()]
    return {found["type"]: found for found in objects}


def panels() -> list[dict[str, Any]]:
    """Return the dashboard's panels."""
    found: list[dict[str, Any]] = json.loads(saved_objects()["dashboard"]["attributes"]["panelsJSON"])
    return found


def controls() -> dict[str, dict[str, Any]]:
    """Return the dashboard's controls, by id."""
    group = saved_objects()["dashboard"]["attributes"]["controlGroupInput"]
    found: dict[str, dict[str, Any]] = json.loads(group["panelsJSON"])
    return found


def lenses() -> dict[str, Lens]:
    """Return the Lens panels by title."""
    return {panel["title"]: _lens(panel) for panel in panels() if panel["type"] == "lens"}


def fields(query: str) -> list[str]:
    """Return the fields that a KQL query names."""
    return re.findall(r"([\w@./-]+) :", query)


def _lens(panel: dict[str, Any]) -> Lens:
    state = panel["embeddableConfig"]["attributes"]["state"]
    [layer] = state["datasourceStates"]["formBased"]["layers"].values()
    columns = {name: layer["columns"][name] for name in layer["columnOrder"]}
    return Lens(columns, state["query"]["query"], state["visualization"])
