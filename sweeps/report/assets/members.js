// The table of members: sorted by a heading, filtered by the boxes under the headings, a page at a time.

const PAGE = 50;
const table = { filters: new Map(), by: null, down: false, page: 0, order: [] };

function filterText(column) {
  return table.filters.get(column)?.value.trim() || "";
}

function setFilter(column, text) {
  const box = table.filters.get(column);
  if (box) box.value = text;
}

// `0.1..0.3 | >5` as pairs of bounds; parts that are no range are left out.
function filterRanges(text) {
  return text.split("|").map(partRange).filter(Boolean);
}

function partRange(part) {
  const words = part.trim().replace(/^=/, "");
  const between = words.split("..");
  const number = (word) => (word.trim() === "" ? NaN : Number(word));
  if (between.length === 2) {
    const [low, high] = between.map(number);
    if (between[0].trim() === "" && !Number.isNaN(high)) return [-Infinity, high];
    if (between[1].trim() === "" && !Number.isNaN(low)) return [low, Infinity];
    return Number.isNaN(low) || Number.isNaN(high) ? null : [low, high];
  }
  const compared = words.match(/^([<>]=?)(.+)$/);
  if (compared) {
    const value = number(compared[2]);
    if (Number.isNaN(value)) return null;
    const apart = Math.abs(value) * 1e-12 || Number.MIN_VALUE;
    if (compared[1][0] === ">") return [compared[1] === ">" ? value + apart : value, Infinity];
    return [-Infinity, compared[1] === "<" ? value - apart : value];
  }
  const value = number(words);
  return Number.isNaN(value) ? null : [value - Math.abs(value) * 1e-6, value + Math.abs(value) * 1e-6];
}

function predicate(column, text) {
  if (column.kind === "number") {
    const ranges = filterRanges(text), unset = text.split("|").some((part) => /^\s*=?(–|-|none)\s*$/i.test(part));
    return (row) => {
      const value = column.values[row];
      if (value === null) return unset;
      return ranges.some(([low, high]) => low <= value && value <= high);
    };
  }
  const parts = text.split("|").map((part) => part.trim().toLowerCase()).filter(Boolean);
  const kept = column.labels.map((label) => {
    const own = label.toLowerCase();
    return parts.some((part) => (part[0] === "=" ? own === part.slice(1).trim() : own.includes(part)));
  });
  return (row) => kept[column.values[row]];
}

function showMembers() {
  const tests = DATA.columns.filter(filterText).map((column) => predicate(column, filterText(column)));
  const rows = [...Array(ROWS).keys()].filter((row) => tests.every((test) => test(row)));
  if (table.by) {
    const { values, kind, labels } = table.by;
    const rank = kind === "text" ? ranked(labels) : null;
    const key = rank ? (row) => rank[values[row]] : (row) => values[row];
    rows.sort((first, second) => {
      const [one, other] = [key(first), key(second)];
      if (one === null || other === null) return (one === null) - (other === null); // what is not set comes last
      return table.down ? other - one : one - other;
    });
  }
  table.order = rows;
  table.page = 0;
  const chosen = document.getElementById("brushed");
  if (chosen) {
    chosen.textContent = tests.length
      ? `${rows.length.toLocaleString("en")} of ${ROWS.toLocaleString("en")} members are within the chosen ranges.`
      : "No range is chosen.";
  }
  showPage();
}

function ranked(labels) {
  const order = labels.map((_, place) => place).sort((one, other) => (labels[one] < labels[other] ? -1 : 1));
  const rank = [];
  order.forEach((place, position) => { rank[place] = position; });
  return rank;
}

// What a number lacks behind it for its point to stand under those of the others.
function lacking(text, most) {
  const found = text.match(/^-?\d+(\.\d+)?$/);
  return found ? `.${"0".repeat(most)}`.slice((found[1] || "").length, most) : "";
}

function showPage() {
  const pages = Math.max(1, Math.ceil(table.order.length / PAGE));
  table.page = Math.min(Math.max(table.page, 0), pages - 1);
  const from = table.page * PAGE;
  const shown = table.order.slice(from, from + PAGE);
  const decimals = DATA.columns.map((column) => column.kind !== "number" ? 0 : Math.max(0,
    ...shown.map((row) => cellText(column, row).match(/^-?\d+(\.\d+)$/)?.[1].length || 0)));
  const body = shown.map((row) => {
    const line = document.createElement("tr");
    line.tabIndex = 0;
    line.addEventListener("click", () => openCard(row));
    line.addEventListener("keydown", (event) => { if (event.key === "Enter") openCard(row); });
    for (const [place, column] of DATA.columns.entries()) {
      const cell = line.insertCell();
      cell.textContent = cellText(column, row);
      cell.title = cell.textContent;
      if (column.kind !== "number") continue;
      cell.className = "number";
      cell.dataset.tail = lacking(cell.textContent, decimals[place]);
    }
    return line;
  });
  document.querySelector("#members tbody").replaceChildren(...body);
  const last = Math.min(from + PAGE, table.order.length);
  const range = table.order.length ? `${from + 1} to ${last} of ${table.order.length.toLocaleString("en")}` : "none";
  document.getElementById("shown").textContent = `Members: ${range}`;
  document.getElementById("previous").disabled = table.page === 0;
  document.getElementById("next").disabled = table.page >= pages - 1;
  for (const heading of document.querySelectorAll("#members th[data-column]")) {
    const sorted = DATA.columns[Number(heading.dataset.column)] === table.by;
    heading.setAttribute("aria-sort", sorted ? (table.down ? "descending" : "ascending") : "none");
  }
}

function make(tag, text, attributes) {
  const element = Object.assign(document.createElement(tag), attributes);
  if (text) element.textContent = text;
  return element;
}

function buildMembers() {
  const head = make("thead"), titles = head.insertRow(), boxes = head.insertRow();
  DATA.columns.forEach((column, place) => {
    const heading = make("th", "", { scope: "col", className: column.kind });
    heading.dataset.column = place;
    const button = make("button", column.name, { type: "button", title: `sort by ${column.name}` });
    button.addEventListener("click", () => {
      table.down = table.by === column ? !table.down : column.of === "metric" && DATA.mode === "max";
      table.by = column;
      showMembers();
    });
    heading.append(button);
    titles.append(heading);
    const box = make("input", "", { type: "text", autocomplete: "off", spellcheck: false });
    box.setAttribute("aria-label", `filter ${column.name}`);
    box.placeholder = column.kind === "number" ? "0.1..0.3" : "filter";
    box.addEventListener("input", () => { showMembers(); showBrushes(); });
    boxes.append(make("td"));
    boxes.lastChild.append(box);
    table.filters.set(column, box);
  });
  const bar = make("div", "", { className: "pages" });
  const previous = make("button", "Previous", { type: "button", id: "previous" });
  const next = make("button", "Next", { type: "button", id: "next" });
  const clear = make("button", "Clear filters", { type: "button", id: "clear" });
  const shown = make("span", "", { id: "shown" });
  shown.setAttribute("role", "status");
  previous.addEventListener("click", () => { table.page -= 1; showPage(); });
  next.addEventListener("click", () => { table.page += 1; showPage(); });
  clear.addEventListener("click", () => {
    for (const box of table.filters.values()) box.value = "";
    showMembers();
    showBrushes();
  });
  bar.append(shown, previous, next, clear);
  const whole = make("table");
  whole.append(make("caption", "Members"), head, make("tbody"));
  const wide = make("div", "", { className: "wide", tabIndex: 0 });
  wide.setAttribute("role", "region");
  wide.setAttribute("aria-label", "Members");
  wide.append(whole);
  document.getElementById("members").append(bar, wide);
  table.by = metricColumn(DATA.metric) || null;
  table.down = DATA.mode === "max";
  showMembers();
}
