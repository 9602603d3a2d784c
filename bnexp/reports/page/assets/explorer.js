"use strict";
// The grid explorer: what is chosen in the form, as a table.
(() => {
  const grids = JSON.parse(document.getElementById("grids-data").textContent);
  const form = document.getElementById("choices");
  const table = document.getElementById("grid");
  const told = document.getElementById("told");
  const MOST_ROWS = 200;
  const MOST_COLUMNS = 50;
  if (!grids.length) {
    told.textContent = "There are no trials to look at.";
    return;
  }
  form.hidden = false;

  function element(name, text = "", attributes = {}) {
    const made = document.createElement(name);
    made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  function select(name, label, options, chosen) {
    const box = element("select", "", { name });
    for (const [value, text] of options) box.append(element("option", text, { value }));
    box.value = chosen;
    const around = element("label", label);
    around.append(box);
    return around;
  }

  const numbered = (names) => names.map((name, number) => [String(number), name]);
  const value = (name) => form.elements[name]?.value ?? "";
  const grid = () => grids[Number(value("experiment") || 0)];
  const choice = (name) => (value(name) === "" ? null : Number(value(name)));

  /** Two factors with several levels, rather not the longest. */
  function first(one) {
    const order = one.factors.map((factor, number) => [factor.levels.length, number]).sort((a, b) => b[0] - a[0]);
    const fit = order.filter(([count]) => count <= MOST_COLUMNS).map(([, number]) => number);
    return [fit[0] ?? null, fit[1] ?? null];
  }

  /** The form for a grid; levels that were chosen before stay. */
  function ask(number, row, column, kept = {}) {
    const one = grids[number];
    const factors = numbered(one.factors.map((factor) => factor.name));
    const none = ["", "(none)"];
    const text = (chosen) => (chosen === null ? "" : String(chosen));
    form.replaceChildren(
      select("experiment", "experiment", numbered(grids.map((each) => each.title)), String(number)),
      select("row", "rows", [none, ...factors], text(row)),
      select("column", "columns", [none, ...factors], text(column)),
    );
    one.factors.forEach((factor, index) => {
      if (index === row || index === column) return;
      const levels = [["", `all ${factor.levels.length} (mean)`], ...numbered(factor.levels)];
      form.append(select(`filter-${index}`, factor.name, levels, kept[index] ?? ""));
    });
  }

  function filters() {
    const found = {};
    for (const box of form.elements) if (box.name.startsWith("filter-")) found[box.name.slice(7)] = box.value;
    return found;
  }

  function share(part, of) {
    const percent = (100 * part) / of;
    return percent < 1 ? "<1%" : percent > 99 && part < of ? ">99%" : `${Math.round(percent)}%`;
  }

  function cell(sum, lowest, highest) {
    if (!sum) return element("td", "–", { class: "none" });
    if (!sum.n) return element("td", `${sum.waiting} not ended`, { class: "none" });
    const mean = sum.total / sum.n;
    const made = element("td", mean.toFixed(1));
    made.append(element("span", `n ${sum.n.toLocaleString("en")}`));
    if (sum.diverged) made.append(element("span", `× ${share(sum.diverged, sum.n)} diverged`));
    if (sum.waiting) made.append(element("span", `${sum.waiting} not ended`));
    const depth = highest > lowest ? (mean - lowest) / (highest - lowest) : 0;
    made.style.backgroundColor = `rgba(var(--heat), ${(0.4 * depth).toFixed(3)})`;
    return made;
  }

  function show() {
    const one = grid();
    const [row, column] = [choice("row"), choice("column")];
    const wanted = Object.entries(filters()).filter(([, level]) => level !== "");
    const sums = Grids.table(one, row, column, wanted.map(([factor, level]) => [Number(factor), Number(level)]));
    const known = [...sums.values()].filter((sum) => sum.n);
    const means = known.map((sum) => sum.total / sum.n);
    const [lowest, highest] = [Math.min(...means), Math.max(...means)];
    const levels = (factor) => (factor === null ? ["all"] : one.factors[factor].levels);
    const name = (factor) => (factor === null ? "" : one.factors[factor].name);
    const rows = levels(row).slice(0, MOST_ROWS);
    const columns = levels(column).slice(0, MOST_COLUMNS);

    const where = wanted.map(([factor, level]) => `${name(factor)} ${one.factors[factor].levels[level]}`).join(", ");
    const about = `Mean scored accuracy in percent, ${one.title}${where ? `: ${where}` : ""}`;
    const head = element("thead");
    const top = element("tr");
    top.append(element("th", [name(row), name(column)].filter(Boolean).join(" \\ "), { scope: "col" }));
    for (const level of columns) top.append(element("th", level, { scope: "col" }));
    head.append(top);
    const body = element("tbody");
    rows.forEach((level, at) => {
      const line = element("tr");
      line.append(element("th", level, { scope: "row" }));
      columns.forEach((_, across) => line.append(cell(sums.get(`${at},${across}`), lowest, highest)));
      body.append(line);
    });
    table.replaceChildren(element("caption", about), head, body);

    const trials = known.reduce((count, sum) => count + sum.n, 0);
    const cut = [
      levels(row).length > rows.length ? ` Only the first ${rows.length} of ${levels(row).length} rows are shown.` : "",
      levels(column).length > columns.length
        ? ` Only the first ${columns.length} of ${levels(column).length} columns are shown.`
        : "",
    ];
    told.textContent = `${trials.toLocaleString("en")} trials shown.${cut.join("")} ${one.notes.join(" ")}`;
  }

  form.addEventListener("change", (event) => {
    const changed = event.target.name;
    if (changed === "experiment") {
      const number = Number(event.target.value);
      ask(number, ...first(grids[number]));
    } else if (changed === "row" || changed === "column") {
      let [row, column] = [choice("row"), choice("column")];
      if (row !== null && row === column) {
        if (changed === "row") column = null;
        else row = null;
      }
      ask(Number(value("experiment")), row, column, filters());
    }
    if (!event.target.name.startsWith("filter-")) form.elements[changed].focus();
    show();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  ask(0, ...first(grids[0]));
  show();
})();
