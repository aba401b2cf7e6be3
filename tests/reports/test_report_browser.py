"""Pages in headless Chromium with the network off."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import synthetic_results as made
from browser_pages import CHROMIUM, NUMBERS, chromium, differences, opened

from lwprof.reports.html import html_of

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def written(folder: Path, data: Any) -> Path:
    path = folder / "page.html"
    path.write_text(html_of(data), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", sorted(made.EVERY))
def test_numbers_read_back_and_nothing_is_asked_for(
    browser: Any, tmp_path: Path, kind: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    data = made.EVERY[kind]()
    with opened(browser, written(tmp_path, data)) as (page, errors, requests):
        numbers = page.evaluate(NUMBERS)
        assert len(numbers) > 5 and differences(data, numbers) == []
        for theme in ("light", "dark"):
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            found = Axe().run(page).response["violations"]
            assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == [], theme
            page.click("#theme")
        assert (errors, requests) == ([], [])


def test_read_back_would_notice_a_wrong_number() -> None:
    assert differences({"a": {"value": 1.0, "low": 0.5, "high": 2.0}},
                       [["a", "1.0000001", "0.5", "2.0"]]) == ["a"]  # fmt: skip


def test_sorting_filtering_linking_by_mouse_and_keyboard(browser: Any, tmp_path: Path) -> None:
    with opened(browser, written(tmp_path, made.measurement(20))) as (page, errors, _):
        table = page.locator("#m0-kernel-table")
        values = "rows => rows.map(r => Number(r.cells[1].dataset.v))"
        rows = table.locator("tbody tr")
        table.locator("th button").nth(1).click()
        falling = rows.evaluate_all(values)
        assert falling == sorted(falling, reverse=True)
        table.locator("th button").nth(1).press("Enter")
        assert rows.evaluate_all(values) == sorted(falling)
        table.locator("input").fill("Gemm")
        assert table.locator("tbody tr:visible").count() == 4
        assert table.locator("[role=status]").inner_text() == "4 of 20 rows"
        table.locator("input").fill("")
        rows.first.focus()
        page.keyboard.press("Enter")
        assert table.locator("tr.on").count() == 1
        page.emulate_media(media="print")
        assert page.pdf().startswith(b"%PDF")
        assert errors == []


@pytest.mark.parametrize("kind", ["model", "audit", "device"])
def test_payloads_stay_text(browser: Any, tmp_path: Path, kind: str) -> None:
    """A sample: every payload in every text of three kinds; all kinds in benchmarks/reports.py."""
    texts = itertools.cycle(made.payloads())
    path = written(tmp_path, made.poisoned(made.EVERY[kind](), texts))
    with opened(browser, path) as (page, errors, requests):
        box = page.locator(".plot").first.bounding_box()
        for step in range(0, 300, 20):
            page.mouse.move(box["x"] + 150 + step, box["y"] + 20 + step / 3)
        assert page.evaluate("window.hit") is None
        assert (errors, requests) == ([], [])
