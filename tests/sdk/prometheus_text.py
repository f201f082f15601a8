"""Reads a gateway's metrics in both text formats with Prometheus' own parsers. Argument: the URL."""

import sys
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain

(url,) = sys.argv[1:]


def changes(sample):
    """Whether it is another one at the next reading: the process's own, and the readings themselves."""
    return sample.name.startswith("process_") or "/metrics" in sample.labels.values()


def read(parse, accept):
    """The samples, by name and labels, and what kind each family is."""
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request) as response:
        assert response.headers["Content-Type"].startswith(accept), response.headers["Content-Type"]
        families = list(parse(response.read().decode()))
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if not changes(sample)
    }
    # The older format has no kind for what only has labels.
    kinds = {family.name.removesuffix("_info"): family.type.replace("info", "gauge") for family in families}
    helps = {family.name.removesuffix("_info"): family.documentation for family in families}
    return samples, kinds, helps


new = read(open_metrics, "application/openmetrics-text")
old = read(plain, "text/plain")
assert len(new[0]) > 100, new
for newer, older in zip(new, old):
    assert newer == older, {key for key in newer.keys() | older.keys() if newer.get(key) != older.get(key)}
print("all well")
