"""docs/observability.md has every metric that a service gives, and no other."""

import re
from collections import defaultdict
from dataclasses import dataclass, field

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from embedded_stack import Stack
from observability.prometheus import ALERTS, JOBS, PAGE, ROOT

ROW = re.compile(r"\| `(\w+)` \| (counter|gauge|histogram) \| ([\w, `]*) \| ([\w, ]+) \| (.+) \|")
# What Prometheus itself adds to a histogram.
OF_HISTOGRAMS = {"le"}


@dataclass(frozen=True)
class Metric:
    kind: str
    services: frozenset[str]
    meaning: str


@dataclass
class Given:
    """A metric as the services give it, with the labels that it has had so far."""

    kind: str
    meaning: str
    services: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)


def documented() -> dict[str, tuple[Metric, set[str]]]:
    return {
        name: (Metric(kind, frozenset(services.split(", ")), meaning), set(re.findall(r"\w+", labels)))
        for name, kind, labels, services, meaning in ROW.findall(PAGE.read_text())
    }


@pytest.fixture(scope="module")
async def given(running_stack: Stack) -> dict[str, Given]:
    metrics: dict[str, Given] = {}
    async with httpx.AsyncClient(timeout=20) as client:
        for job, address in JOBS.items():
            answer = await client.get(f"{running_stack.addresses[address]}/metrics")
            assert answer.status_code == 200
            for family in text_string_to_metric_families(answer.text):
                name = f"{family.name}_total" if family.type == "counter" else family.name
                metric = metrics.setdefault(name, Given(family.type, family.documentation))
                metric.services.add(job)
                metric.labels.update(*(sample.labels.keys() - OF_HISTOGRAMS for sample in family.samples))
    return metrics


def test_every_metric_is_documented_and_no_other(given: dict[str, Given]) -> None:
    real = {name: Metric(each.kind, frozenset(each.services), each.meaning) for name, each in given.items()}
    assert {name: metric for name, (metric, _) in documented().items()} == real


def test_labels_are_documented(given: dict[str, Given]) -> None:
    """As far as there are samples: a counter that has not counted yet has none."""
    labels = {name: labels for name, (_, labels) in documented().items()}
    assert {name: each.labels for name, each in given.items() if each.labels} == {
        name: labels[name] for name, each in given.items() if each.labels
    }


def test_alerts_are_documented_in_the_order_of_their_file() -> None:
    assert re.findall(r"^\| `([A-Z]\w+)` \|", PAGE.read_text(), re.MULTILINE) == [each["alert"] for each in ALERTS]


def test_metrics_of_a_service_are_defined_in_one_module() -> None:
    defining: dict[str, set[str]] = defaultdict(set)
    for folder in ("services", "infra"):
        for file in (ROOT / folder).glob("*/src/**/*.py"):
            if re.search(r"\b(Counter|Gauge|Histogram|Summary)\(\n?\s*\"", file.read_text()):
                package = file.relative_to(ROOT / folder).parts[2]
                defining[package].add(str(file.relative_to(ROOT)))
    assert {package: len(files) for package, files in defining.items() if package != "service_kit"} == dict.fromkeys(
        ("auth_service", "tweet_service", "sync_service", "registrar"), 1
    )
