"""Opens a page in headless Chromium without a network, and tells what it did."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser; one for many pages."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Any, path: Path, width: int = 1280
) -> Iterator[tuple[Any, list[str], list[str]]]:
    """The page, drawn to the end; its errors; its requests beyond the file itself."""
    context = browser.new_context(offline=True, viewport={"width": width, "height": 900})
    page = context.new_page()
    errors: list[str] = []
    requests: list[str] = []
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: (errors.append("dialog"), dialog.dismiss()))
    page.on("request", lambda r: requests.append(r.url)
            if r.url != path.as_uri() and not r.url.startswith("data:") else None)  # fmt: skip
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]", timeout=60_000)
    yield page, errors, requests
    context.close()


# Everything in the page that says where in the JSON it stands: [path, value, low, high].
NUMBERS = """() => {
  const out = [];
  const told = (path, e) => { if (e.dataset.v !== undefined) out.push([path, e.dataset.v,
    e.dataset.l ?? null, e.dataset.h ?? null]); };
  for (const e of document.querySelectorAll("dd[data-path]")) told(e.dataset.path, e);
  for (const row of document.querySelectorAll("tr[data-path]")) {
    const base = row.closest("table").dataset.base + row.dataset.path;
    const keys = Array.from(row.closest("table").tHead.rows[0].cells, (c) => c.dataset.key);
    keys.forEach((key, i) => { if (key) told(base + "." + key, row.cells[i]); });
  }
  return out;
}"""


def differences(data: Any, numbers: list[list[Any]]) -> list[str]:
    """Paths whose numbers in the page are not those of the JSON."""
    wrong = []
    for path, value, low, high in numbers:
        found = data
        for part in path.split("."):
            found = found[int(part)] if isinstance(found, list) else found[part]
        told = [value, low, high]
        if isinstance(found, dict):
            wanted = [found["value"], found.get("low"), found.get("high")]
        else:
            wanted = [found, None, None]
        if [None if t is None else float(t) for t in told] != [
            None if w is None else float(w) for w in wanted
        ]:
            wrong.append(path)
    return wrong
