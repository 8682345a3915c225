"""The dashboard explains itself, and fits together."""

from typing import Any

import pytest
import yaml

from observability.prometheus import DASHBOARD, FOLDER, PANELS


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: f"{panel['title']}-{panel['id']}")
def test_panel_explains_itself(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]


def test_dashboard_has_its_rows_and_data_source() -> None:
    assert DASHBOARD["uid"] == "tandem"
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["HTTP", "Sync", "Connectors", "Logins"]
    identities = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identities)) == len(identities)
    provisioned = yaml.safe_load((FOLDER / "grafana/provisioning/datasources/prometheus.yml").read_text())
    (source,) = provisioned["datasources"]
    assert {(panel["datasource"]["type"], panel["datasource"]["uid"]) for panel in PANELS} == {
        (source["type"], source["uid"])
    }


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
