// Parallel coordinates, whose brushes and the filters of the table are one thing.

const MOST_LINES = 2000; // a browser without a graphics processor takes seconds for these, and minutes for more
const BEST_LINES = 200;
let settingBrushes = false;

function hasWebgl() {
  return Boolean(document.createElement("canvas").getContext("webgl"));
}

// One axis per field or metric: its column, how it is laid, and what a brushed range means to the table.
function dimensions(rows) {
  return DATA.parallel.map((name) => {
    const field = DATA.fields.find((each) => each.name === name);
    const column = (field && fieldColumn(name)) || metricColumn(name);
    const label = plain(name.length > 18 ? `…${name.slice(-17)}` : name);
    if (field && !field.numeric) {
      const { tickvals } = cellTicks(field, 16);
      const ticktext = tickvals.map((place) => shortened(field.labels[place])); // read as text, unlike other ticks
      return { column, cells: field, spec: { label, values: rows.map((row) => field.cells[row]), tickvals, ticktext } };
    }
    const numbers = rows.map((row) => column.values[row]);
    const [low, high] = extent(numbers);
    const log = field ? field.log : low > 0 && high > 1000 * low;
    if (!log) return { column, spec: { label, values: numbers, ...(low < high ? {} : { range: [low - 1, low + 1] }) } };
    const powers = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) powers.push(power);
    const inside = powers.filter((power) => 10 ** power >= low * 0.999 && 10 ** power <= high * 1.001);
    const ticks = inside.length > 1 ? inside : [Math.log10(low), Math.log10(high)];
    return {
      column, log,
      spec: {
        label, values: numbers.map(Math.log10), tickvals: ticks,
        ticktext: ticks.map((power) => shortNumber(10 ** power)),
      },
    };
  });
}

function parallelPanel() {
  if (!hasWebgl()) return { message: "Parallel coordinates need WebGL, which this browser does not have or allow." };
  const columns = DATA.parallel.map((name) =>
    (DATA.fields.some((field) => field.name === name) && fieldColumn(name)) || metricColumn(name));
  const categories = DATA.fields.filter((field) => !field.numeric).map((field) => field.name);
  const whole = (row) => columns.every((column) => column.values[row] !== null || categories.includes(column.name));
  const every = [...Array(ROWS).keys()].filter(whole);
  if (!every.length) return { message: "No member has a finite value at the last step." };
  const rows = every.length > MOST_LINES ? someLines(every) : every;
  const found = dimensions(rows);
  for (const dimension of found) {
    const range = brushOf(dimension);
    if (range) dimension.spec.constraintrange = range;
  }
  const text = themeColor("text"), place = document.getElementById("parallel");
  const metric = metricColumn(DATA.metric).values;
  return {
    traces: [{
      type: "parcoords", dimensions: found.map((dimension) => dimension.spec),
      line: { color: rows.map((row) => metric[row]), colorscale: lineScale() },
      unselected: { line: { color: themeColor("grey"), opacity: 0.06 } },
      labelfont: { color: text, size: 13 }, tickfont: { color: text, size: 12 }, rangefont: { color: "rgba(0,0,0,0)" },
      labelangle: found.length > 4 ? -14 : 0,
    }],
    layout: layout({
      height: 420, margin: { l: 70, r: 70, t: found.length > 4 ? 90 : 70, b: 24 },
      width: Math.max(place.clientWidth, 100 * found.length),
    }),
    after: (element) => {
      element.classList.add("narrow");
      element.tabIndex = 0;
      element.removeAllListeners("plotly_restyle");
      element.on("plotly_restyle", () => settingBrushes || readBrushes(element, found));
    },
  };
}

// Lines are thin: their weak end is stronger than that of an area.
function lineScale() {
  const colors = scale(DATA.metric);
  return colors.map(([place, color]) => [place, color === "#d3e0ec" ? "#a3bdd6" : color]);
}

// The best members, and others spread evenly over the ranking; the best are drawn last, on top.
function someLines(rows) {
  const values = metricColumn(DATA.metric).values, sign = DATA.mode === "max" ? 1 : -1;
  const ranked = [...rows].sort((one, other) => sign * (values[one] - values[other]));
  const others = ranked.slice(0, ranked.length - BEST_LINES), every = others.length / (MOST_LINES - BEST_LINES);
  const spread = [...Array(MOST_LINES - BEST_LINES).keys()].map((place) => others[Math.floor(place * every)]);
  return [...spread, ...ranked.slice(-BEST_LINES)];
}

// The ranges that are brushed, as texts of the table's filters.
function readBrushes(element, found) {
  found.forEach((dimension, place) => {
    const range = element.data[0].dimensions[place].constraintrange;
    const ranges = !range ? [] : Array.isArray(range[0]) ? range : [range];
    setFilter(dimension.column, ranges.map((each) => rangeText(dimension, each)).join(" | "));
  });
  showMembers();
}

function rangeText(dimension, [low, high]) {
  if (dimension.cells) {
    const inside = dimension.cells.labels.filter((_, place) => low <= place && place <= high);
    return inside.map((label) => `=${label}`).join(" | ") || "=nothing";
  }
  const back = (value) => Number((dimension.log ? 10 ** value : value).toPrecision(6));
  return `${back(low)}..${back(high)}`;
}

// The brush that a filter of the table is, if it is a range; undefined else.
function brushOf(dimension) {
  if (dimension.cells) return undefined;
  const parts = filterRanges(filterText(dimension.column));
  const finite = parts.filter(([low, high]) => low <= high);
  if (!finite.length) return undefined;
  const [least, most] = extent(dimension.spec.values);
  const laid = (value) => (dimension.log ? Math.log10(Math.max(value, Number.MIN_VALUE)) : value);
  const clipped = finite.map(([low, high]) => [Math.max(laid(low), least), Math.min(laid(high), most)]);
  const kept = clipped.filter(([low, high]) => low <= high);
  return kept.length > 1 ? kept : kept[0];
}

function showBrushes() {
  const place = document.getElementById("parallel");
  if (!place || place.dataset.drawn !== "yes") return;
  settingBrushes = true;
  draw("parallel");
  settingBrushes = false;
}
