"use strict";
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const views = new Map();
  const isDark = () => root.dataset.theme === "dark" || (root.dataset.theme === "auto" && dark.matches);

  function paint(asDark) {
    const ink = asDark ? "#c9d0d6" : "#3a4148", line = asDark ? "#3a4148" : "#d4d9de";
    for (const view of views.values()) {
      for (const model of view.model.document._all_models.values()) {
        if (model.axis_line_color !== undefined && model.major_label_text_color !== undefined)
          model.setv({axis_label_text_color: ink, major_label_text_color: ink, axis_line_color: line,
                      major_tick_line_color: line, minor_tick_line_color: null});
        else if (model.type === "Grid") model.setv({grid_line_color: line});
        else if (model.type === "Legend") model.setv({label_text_color: ink});
        else if (model.type === "LabelSet") model.setv({text_color: ink});
      }
    }
  }
  function theme() {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", "Switch to " + button.textContent.toLowerCase() + " colours");
    paint(isDark());
  }
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; theme(); });
  dark.addEventListener("change", theme);
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details:not([open])")) { part.open = true; part.dataset.shut = ""; }
    paint(false);
  });
  addEventListener("afterprint", () => {
    for (const part of document.querySelectorAll("details[data-shut]")) { part.open = false; delete part.dataset.shut; }
    paint(isDark());
  });

  function sortKey(cell, numeric) {
    if (!numeric) return cell.textContent;
    return cell.dataset.v === undefined ? -Infinity : Number(cell.dataset.v);
  }
  function sort(table, index, heading) {
    const numeric = heading.classList.contains("n");
    const up = heading.getAttribute("aria-sort") === (numeric ? "descending" : null);
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row) => [sortKey(row.cells[index], numeric), row]);
    const compare = numeric ? (a, b) => a[0] === b[0] ? 0 : a[0] < b[0] ? -1 : 1
                            : (a, b) => a[0].localeCompare(b[0]);
    const rising = numeric ? up : heading.getAttribute("aria-sort") !== "ascending";
    rows.sort(rising ? compare : (a, b) => compare(b, a));
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
    body.append(...rows.map((pair) => pair[1]));
  }
  function light(box, mark, on) {
    for (const row of box.querySelectorAll("tr.on")) row.classList.remove("on");
    if (on) for (const row of box.querySelectorAll(`tr[data-mark="${mark}"]`)) row.classList.add("on");
  }
  const sourceOf = (chart) => views.get(chart)?.model.document.get_model_by_name("linked");
  for (const box of document.querySelectorAll(".table")) {
    const table = box.querySelector("table");
    Array.from(table.tHead.rows[0].cells).forEach((heading, index) =>
      heading.firstElementChild.addEventListener("click", () => sort(table, index, heading)));
    const filter = box.querySelector("input"), status = box.querySelector("[role=status]");
    filter?.addEventListener("input", () => {
      const wanted = filter.value.toLowerCase();
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        row.hidden = !row.textContent.toLowerCase().includes(wanted);
        if (!row.hidden) shown += 1;
      }
      status.textContent = `${shown} of ${table.tBodies[0].rows.length} rows`;
    });
    const choose = (event) => {
      const row = event.target.closest("tr[data-mark]");
      if (!row || (event.type === "keydown" && event.key !== "Enter" && event.key !== " ")) return;
      if (event.type === "keydown") event.preventDefault();
      const source = sourceOf(box.dataset.chart), mark = Number(row.dataset.mark);
      const on = !row.classList.contains("on");
      light(box, mark, on);
      if (source) source.selected.indices = on ? [mark] : [];
    };
    table.addEventListener("click", choose);
    table.addEventListener("keydown", choose);
  }

  async function draw() {
    for (const {id, item} of JSON.parse(document.getElementById("charts").textContent)) {
      const manager = await Bokeh.embed.embed_item(item);
      await new Promise((next) => setTimeout(next));
      views.set(id, manager.roots[0] ?? Array.from(manager)[0]);
    }
    for (const box of document.querySelectorAll(".table[data-chart]")) {
      const source = sourceOf(box.dataset.chart);
      source?.selected.properties.indices.change.connect(() => {
        const mark = source.selected.indices[0];
        light(box, mark, mark !== undefined);
      });
    }
    theme();
    root.dataset.ready = String(Math.round(performance.now()));
  }
  theme();
  root.dataset.interactive = String(Math.round(performance.now()));
  addEventListener("DOMContentLoaded", draw);
})();
