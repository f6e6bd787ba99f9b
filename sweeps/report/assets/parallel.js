// Parallel coordinates, whose ranges and the filters of the table are one thing.

const MOST_LINES = 2000; // a browser takes seconds for more
const BEST_LINES = 200;
const SIDE = 46, ABOVE = 64, BELOW = 16, TALL = 420, EACH = 96; // pixels around and between the axes

// One axis per field or metric: its column, where a row lies on it, its ticks, and what a range means to the table.
function dimensions(rows) {
  return DATA.parallel.map((name) => {
    const field = DATA.fields.find((each) => each.name === name);
    const column = (field && fieldColumn(name)) || metricColumn(name);
    if (field && !field.numeric) {
      const range = [-0.5, field.labels.length - 0.5], { tickvals, ticktext } = cellTicks(field, 16);
      return { name, column, cells: field, range, value: (row) => field.cells[row], ticks: tickvals.map((at, place) => ({ at, text: ticktext[place] })) };
    }
    const [low, high] = extent(rows.map((row) => column.values[row]).filter((value) => value !== null));
    const log = field ? field.log : low > 0 && high > 1000 * low;
    const laid = log ? Math.log10 : (value) => value;
    const range = low < high ? [laid(low), laid(high)] : [laid(low) - 1, laid(low) + 1];
    const percent = !field && DATA.percent.includes(name), few = field && levelTicks(field).levels ? levelTicks(field) : {};
    const ticks = low < high ? axisTicks({ type: log ? "log" : "linear", percent, ...few }, range, MOST_TICKS)
      : [{ at: laid(low), text: tickText(low, undefined, percent) }];
    if (rows.some((row) => column.values[row] === null)) { // members that have no such field lie below the others
      range[0] -= 0.1 * (range[1] - range[0]);
      ticks.push({ at: range[0], text: "–" });
    }
    const value = (row) => (column.values[row] === null ? range[0] : laid(column.values[row]));
    return { name: field ? name : titled(name), column, log, laid, range, value, ticks };
  });
}

function parallelPanel() {
  const columns = DATA.parallel.map((name) =>
    (DATA.fields.some((field) => field.name === name) && fieldColumn(name)) || metricColumn(name));
  const whole = (row) => columns.every((column) => column.of === "member" || column.values[row] !== null);
  const every = [...Array(ROWS).keys()].filter(whole);
  if (!every.length) return { message: "No member has a finite value at the last step." };
  return { height: TALL, draw: (place, width) => drawParallel(place, width, every.length > MOST_LINES ? someLines(every) : every) };
}

function drawParallel(place, given, rows) {
  place.classList.add("narrow");
  const found = dimensions(rows), metric = metricColumn(DATA.metric).values;
  const width = given || Math.max(place.clientWidth, EACH * found.length + 120), bar = width - 92;
  const x = (position) => SIDE + (position * (bar - 2 * SIDE)) / Math.max(1, found.length - 1);
  const y = (dimension, value) => TALL - BELOW - ((value - dimension.range[0]) / (dimension.range[1] - dimension.range[0])) * (TALL - BELOW - ABOVE);
  const [low, high] = extent(rows.map((row) => metric[row])), colors = lineScale();
  const log = low > 0 && high > 1000 * low, laid = (value) => (log ? Math.log10(value) : value);
  const [from, to] = [laid(low), laid(high)];
  const sign = DATA.mode === "max" ? 1 : -1; // the best are drawn last, on top
  const lines = [...rows].sort((one, other) => sign * (metric[one] - metric[other])).map((row) => {
    const points = found.map((dimension, position) => `${x(position).toFixed(1)} ${y(dimension, dimension.value(row)).toFixed(1)}`);
    const line = svg("path", {
      d: `M${points.join("L")}`, fill: "none", "stroke-width": 1.3, opacity: 0.75,
      stroke: shade(colors, (laid(metric[row]) - from) / (to - from || 1)),
    });
    line.row = row;
    line.addEventListener("pointermove", (event) => showTip(memberText(row), event));
    line.addEventListener("pointerleave", () => showTip(""));
    line.addEventListener("click", () => openCard(row));
    return line;
  });
  const family = getComputedStyle(document.body).fontFamily;
  const drawing = svg("svg", {
    viewBox: `0 0 ${width} ${TALL}`, width, height: TALL, "font-family": family, "font-size": FONT, fill: themeColor("text"), xmlns: SVG,
  }, [
    svg("rect", { width, height: TALL, fill: themeColor("ground") }),
    svg("g", { class: "lines" }, lines),
    ...found.map((dimension, position) => axisOf(dimension, x(position), y, position)),
    colorbar({ title: "", colors, low: from, high: to, log, percent: DATA.percent.includes(DATA.metric) },
      { right: bar - 8, top: ABOVE - 10, bottom: TALL - BELOW }, "parallel"),
  ]);
  place.replaceChildren(drawing);
  place.found = found;
  place.y = y;
  showBrushes();
}

// An axis with its name, its ticks, the ranges that are chosen, and where one drags to choose.
function axisOf(dimension, left, y, position) {
  const top = ABOVE - 6, bottom = TALL - BELOW + 6, ground = themeColor("ground");
  const halo = { stroke: ground, "stroke-width": 3, "paint-order": "stroke", "stroke-linejoin": "round" };
  const names = shortened(dimension.name, DATA.parallel.length > 4 ? 26 : 16);
  const grip = svg("rect", { class: "grip", x: left - 14, y: top, width: 28, height: bottom - top, fill: "transparent" });
  const chosen = svg("g", { class: "chosen" });
  grip.addEventListener("pointerdown", (event) => dragRange(event, grip, dimension, y));
  grip.addEventListener("dblclick", () => { setFilter(dimension.column, ""); showMembers(); showBrushes(); });
  return svg("g", { class: "axis" }, [
    svg("path", { d: `M${left} ${top}V${bottom}`, stroke: themeColor("grey"), "stroke-width": 1.5 }),
    chosen,
    svg("text", { x: left, y: position % 2 && DATA.parallel.length > 4 ? 18 : 38, "text-anchor": "middle", "font-weight": 600 }, names),
    ...dimension.ticks.map((tick) => svg("text", {
      ...halo, x: left + 6, y: y(dimension, tick.at), "dominant-baseline": "central",
    }, shortened(tick.text, 12))),
    grip,
  ]);
}

function dragRange(event, grip, dimension, y) {
  if (event.button !== 0) return;
  const edge = grip.ownerSVGElement.getBoundingClientRect(), by = TALL / edge.height;
  const at = (moved) => {
    const share = (TALL - BELOW - (moved.clientY - edge.top) * by) / (TALL - BELOW - ABOVE);
    return dimension.range[0] + Math.min(1, Math.max(0, share)) * (dimension.range[1] - dimension.range[0]);
  };
  const first = at(event);
  const move = (moved) => {
    const ends = [first, at(moved)].sort((one, other) => one - other);
    if (Math.abs(y(dimension, ends[1]) - y(dimension, ends[0])) < 3) return;
    setFilter(dimension.column, rangeText(dimension, ends));
    showMembers();
    showBrushes();
  };
  grip.setPointerCapture(event.pointerId);
  grip.addEventListener("pointermove", move);
  grip.addEventListener("pointerup", () => grip.removeEventListener("pointermove", move), { once: true });
  event.preventDefault();
}

// Lines are thin: their weak end is stronger than that of an area.
function lineScale() {
  return scale(DATA.metric).map(([place, color]) => [place, color === "#d3e0ec" ? "#9db9d3" : color]);
}

// The best members, and others spread evenly over the ranking.
function someLines(rows) {
  const values = metricColumn(DATA.metric).values, sign = DATA.mode === "max" ? 1 : -1;
  const ranked = [...rows].sort((one, other) => sign * (values[one] - values[other]));
  const others = ranked.slice(0, ranked.length - BEST_LINES), every = others.length / (MOST_LINES - BEST_LINES);
  const spread = [...Array(MOST_LINES - BEST_LINES).keys()].map((place) => others[Math.floor(place * every)]);
  return [...spread, ...ranked.slice(-BEST_LINES)];
}

function rangeText(dimension, [low, high]) {
  if (dimension.cells) {
    const inside = dimension.cells.labels.filter((_, place) => low <= place && place <= high);
    return inside.map((label) => `=${label}`).join(" | ") || "=nothing";
  }
  const back = (value) => Number((dimension.log ? 10 ** value : value).toPrecision(6));
  return `${back(low)}..${back(high)}`;
}

// The ranges of the table's filters along the axes; lines outside of any filter are faint.
function showBrushes() {
  const place = document.getElementById("parallel");
  if (!place?.found) return;
  const kept = new Set(table.order), blue = themeColor("blue");
  for (const line of place.querySelectorAll(".lines path")) line.setAttribute("opacity", kept.has(line.row) ? 0.75 : 0.06);
  place.querySelectorAll(".chosen").forEach((group, position) => {
    const dimension = place.found[position], text = filterText(dimension.column);
    const ranges = !text || dimension.cells ? [] : filterRanges(text);
    const at = (value) => {
      const laid = dimension.log ? Math.log10(Math.max(value, Number.MIN_VALUE)) : value;
      return place.y(dimension, Math.min(dimension.range[1], Math.max(dimension.range[0], laid)));
    };
    const middle = Number(group.previousSibling.getAttribute("d").slice(1).split(" ")[0]);
    group.replaceChildren(...ranges.map(([low, high]) => svg("rect", {
      x: middle - 5, width: 10, y: at(high) - 1, height: Math.max(3, at(low) - at(high) + 2), fill: blue, opacity: 0.45,
    })));
  });
}
