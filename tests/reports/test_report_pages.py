"""Pages without a browser: escaping, tolerance, redaction, size, determinism of content."""

from __future__ import annotations

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import synthetic_results as made

from lwprof.errors import UsageError
from lwprof.reporting import report
from lwprof.reports.cells import estimate
from lwprof.reports.charts import label, scale_of
from lwprof.reports.html import html_of
from lwprof.reports.redacting import redacted


class Seen(HTMLParser):
    """Which tags and attributes a page has; which tags occur once."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.once: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("link", "style", "title", "body"):
            (self.once.discard if tag in self.tags else self.once.add)(tag)
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def markup(html: str) -> str:
    """The page without its scripts, which hold texts as JSON."""
    return re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)


@pytest.mark.parametrize("kind", sorted(made.EVERY))
def test_page_is_one_file_within_its_size(kind: str) -> None:
    html = html_of(made.EVERY[kind]())
    assert len(html.encode()) < 1.5e6
    assert not re.search(r"""(?:src|href)=["'](?!#|data:)""", markup(html))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy and "default-src" in policy[1] and "unsafe-eval" not in policy[1]
    assert "script-src &#39;sha256-" in policy[1] or "script-src 'sha256-" in policy[1]


def test_two_hundred_kernels_fit() -> None:
    assert len(html_of(made.measurement(200)).encode()) <= 1.5e6


@pytest.mark.parametrize("kind", sorted(made.EVERY))
def test_no_payload_becomes_markup(kind: str) -> None:
    texts = itertools.cycle(made.payloads())
    html = html_of(made.poisoned(made.EVERY[kind](), texts))
    assert html.count("<script") - html.count('<script type="application/json"') == 2
    seen = Seen()
    seen.feed(markup(html))
    assert seen.tags.isdisjoint({"img", "svg", "iframe", "object", "math", "embed", "base"})
    assert {tag for tag in seen.tags if tag in ("link", "style", "title", "body")} == seen.once
    assert not [name for name in seen.attributes if name.startswith("on") or name == "srcdoc"]


def test_payloads_are_two_hundred_different_ones() -> None:
    assert len(set(made.payloads())) == 200


def test_null_energy_and_odd_intervals_are_shown_as_such() -> None:
    html = html_of(made.measurement(energy=False))
    assert "Energy is unknown" in html and "0 J" not in markup(html)
    at_most = estimate({"value": 1e-6, "low": 0.0, "high": 2e-6, "at_most": True}, "s")
    assert at_most.text == "≤ 1.00 µs"
    open_end = estimate({"value": 2.0, "low": 1.0, "high": None}, "s")
    assert open_end.interval.endswith("?") and open_end.high is None


def test_share_is_of_the_closures_end_to_end_time() -> None:
    data = made.measurement()
    model = data["models"][0]
    kernel = max(model["kernels"], key=lambda k: k["latency_s"]["value"])
    expected = kernel["latency_s"]["value"] / model["closure"]["end_to_end_s"]
    assert f'data-v="{float(f"{expected:.6g}")}"' in html_of(data)


def test_sparse_results_open() -> None:
    html_of({"schema": "lwprof.measurement/1", "models": [{"name": "x", "latency_s": None}]})
    for kind in ("comparison", "audit", "search", "prune", "device", "measurements"):
        html_of({"schema": f"lwprof.{kind}/1"})


def test_unknown_schema_is_refused() -> None:
    with pytest.raises(UsageError, match="no report"):
        html_of({"schema": "lwprof.other/1"})


def test_redaction_takes_the_host_out_of_every_text(tmp_path: Path) -> None:
    data = made.measurement()
    data["models"][0]["reason"] = "secret-host-7 at 192.168.7.31 (pi@board) kept /home/pi/x.onnx"
    data["models"][0]["verdict"] = "unfit"
    out = report(data, tmp_path / "r.html", redact=True)
    html = out.read_text()
    for secret in ("secret-host-7", "192.168.7.31", "pi@board", "/home/pi", "made-up-unit-0001"):
        assert secret in json.dumps(data) and secret not in html
    latency = data["models"][0]["latency_s"]
    assert redacted(data)["models"][0]["latency_s"] == latency


@pytest.mark.parametrize(("value", "unit", "name", "factor"), [
    (0.0123, "s", "ms", 1e3), (3.0, "s", "s", 1.0), (5e9, "", "G", 1e-9),
    (3 * 2**20, "B", "MiB", 2**-20), (2e-6, "J", "µJ", 1e6),
])  # fmt: skip
def test_scale_reads_well(value: float, unit: str, name: str, factor: float) -> None:
    found = scale_of([value / 7, value], unit)
    assert found[1] == name and found[0] == pytest.approx(factor)


def test_labels_are_short_and_no_tex() -> None:
    assert len(label("x" * 500)) <= 26 and "$$" not in label("$$x$$")
