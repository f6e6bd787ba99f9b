// The figures, but for parallel coordinates.

function memberText(row) {
  const said = [`member ${cellText(fieldColumn("member"), row)}, seed ${cellText(fieldColumn("seed"), row)}`];
  for (const field of DATA.fields) said.push(`${field.name} = ${cellText(fieldColumn(field.name), row)}`);
  return said.map(plain).join("<br>");
}

// Where a member lies along a field; categories are spread a little so that dots do not hide each other.
function positions(field, rows) {
  const values = fieldColumn(field.name).values;
  if (field.numeric) return rows.map((row) => values[row]);
  return rows.map((row) => field.cells[row] + (((row * 0.618034) % 1) - 0.5) * 0.5);
}

function bandTraces(x, mean, low, high, color, name, dash) {
  const traces = [], runs = [[]]; // a band ends where a value is missing, as the line does
  x.forEach((_, place) => {
    if (low[place] !== null && high[place] !== null) runs[runs.length - 1].push(place);
    else if (runs[runs.length - 1].length) runs.push([]);
  });
  for (const there of runs.filter((each) => each.length > 1)) {
    const back = [...there].reverse();
    traces.push({
      x: [...there, ...back].map((place) => x[place]),
      y: [...there.map((place) => low[place]), ...back.map((place) => high[place])],
      type: "scatter", mode: "lines", line: { width: 0 }, fill: "toself", fillcolor: translucent(color, 0.2),
      hoverinfo: "skip",
    });
  }
  traces.push({
    x, y: mean, type: "scatter", mode: x.length > 40 ? "lines" : "lines+markers", marker: { size: 6, color },
    line: { color, width: 2, dash: dash || "solid" }, hoverinfo: "x+y+text",
    text: mean.map((_, place) => plain(`${name}: ${bounds(low[place], high[place])}`)),
  });
  return traces;
}

function bounds(low, high) {
  return low === null ? "no interval" : `${shortNumber(low)} to ${shortNumber(high)}`;
}

function meanTraces(field, found, color, name, dash) {
  if (field.numeric && field.centers.length > 1) {
    return bandTraces(field.centers, found.mean, found.low, found.high, color, name, dash);
  }
  const reach = found.mean.map((mean, place) => (found.high[place] === null ? 0 : found.high[place] - mean));
  return [{
    x: field.centers, y: found.mean, type: "scatter", mode: "markers", marker: { color, size: 9, symbol: "diamond" },
    error_y: { type: "data", array: reach, color, thickness: 2, width: 6 }, hoverinfo: "y+text",
    text: found.mean.map((_, place) => plain(`${name}: ${bounds(found.low[place], found.high[place])}`)),
  }];
}

// More dots than a browser draws one by one quickly are one path: dots of no length with round ends, whose
// colour and size are those of the shape.
const CROWD = 2000;

function crowdOf(x, y, height, more) {
  const path = x.map((at, row) => `M${at},${y[row]}L${at},${y[row] + height}`).join("");
  return { type: "path", path, layer: "between", ...more };
}

function againstPanel(place) {
  const field = DATA.fields[place];
  const values = metricColumn(DATA.metric).values;
  const status = fieldColumn("status");
  const rows = [...Array(ROWS).keys()].filter((row) => field.cells[row] >= 0);
  const finite = rows.filter((row) => values[row] !== null);
  const ended = ["diverged", "failed", "done"]; // done without a finite value is drawn as diverged
  const lost = rows.filter((row) => values[row] === null && ended.includes(status.labels[status.values[row]]));
  if (!finite.length && !lost.length) return { message: "No member has come to its end yet." };
  const blue = themeColor("blue"), grey = themeColor("grey"), red = themeColor("vermilion");
  const traces = [], shapes = [], legend = [];
  const y = finite.map((row) => values[row]);
  if (finite.length) {
    const x = positions(field, finite);
    if (finite.length > CROWD) shapes.push(crowdOf(x, y, 0, { opacity: 0.35, line: { color: grey, width: 3 } }));
    else {
      traces.push({
        x, y, type: "scatter", mode: "markers", marker: { color: grey, size: 5, opacity: 0.6 }, hoverinfo: "y+text",
        text: finite.map(memberText),
      });
    }
    traces.push(...meanTraces(field, DATA.against[place], blue, "mean"));
    legend.push({ label: "one member", shape: "dot", color: grey });
    legend.push({ label: meansLabel(DATA.against[place]), color: blue });
  }
  if (lost.length) {
    const x = positions(field, lost), line = { color: red, width: 1.5 };
    if (lost.length > CROWD) shapes.push(crowdOf(x, x.map(() => 0), 0.035, { yref: "paper", opacity: 0.35, line }));
    // The axis is there for the crosses alone; with a crowd, for the means of nothing.
    traces.push({
      x: lost.length > CROWD ? extent(x) : x, y: (lost.length > CROWD ? [0, 0] : x).map(() => 0.02), yaxis: "y2",
      type: "scatter", mode: "markers", marker: { symbol: "x-thin", size: 8, line }, hoverinfo: "text",
      text: lost.map(memberText), cliponaxis: false,
    });
    const label = "diverged or no finite value";
    legend.push({ label, shape: lost.length > CROWD ? "tick" : "cross", color: red });
  }
  return {
    traces, legend,
    layout: layout({
      shapes, xaxis: fieldAxis(field), yaxis: metricAxis(DATA.metric, y),
      yaxis2: { overlaying: "y", range: [0, 1], visible: false, fixedrange: true },
    }),
  };
}

function meansLabel(found) {
  return found.low.some((low) => low !== null) ? "mean and 95 % interval" : "mean";
}

// What is drawn: a group of configurations, or the one that was chosen.
function curveChoice() {
  const held = DATA.curves.configurations.length, groups = DATA.curves.groups;
  const which = Number(document.getElementById("curve-which").value);
  if (which >= groups.length) return [which - groups.length];
  if (groups[which] === "best") return [0];
  const all = [...Array(held).keys()];
  if (groups[which] === "all") return all;
  return [...new Set([...Array(8).keys()].map((place) => Math.round((place * (held - 1)) / 7)))];
}

function curvesPanel() {
  const curves = DATA.curves;
  const names = Object.keys(curves.metrics);
  const name = names[Number(document.getElementById("curve-metric").value)];
  const found = curves.metrics[name];
  const chosen = curveChoice().filter((place) => found.mean[place].some((value) => value !== null));
  const members = document.getElementById("curve-members").checked;
  if (!chosen.length) return { message: "Nothing was evaluated yet." };
  const one = DATA.fields.length === 1 && DATA.fields[0].numeric;
  const ordered = one ? curves.order.filter((place) => chosen.includes(place)) : chosen;
  const traces = [], legend = [], whole = [], partial = [];
  ordered.forEach((place, position) => {
    const many = ordered.length > ON_LIGHT.length;
    const color = many ? ramp(position / (ordered.length - 1)) : series(position);
    const dash = many ? "solid" : DASHES[position];
    const configuration = curves.configurations[place];
    if (members) {
      for (const curve of found.members[place]) {
        traces.push({
          x: curves.steps, y: curve, type: "scatter", mode: "lines", hoverinfo: "skip", opacity: 0.45,
          line: { color, width: 0.8 },
        });
      }
    }
    const none = found.mean[place].map(() => null);
    const [low, high] = many ? [none, none] : [found.low[place], found.high[place]];
    traces.push(...bandTraces(curves.steps, found.mean[place], low, high, color, configuration.label, dash));
    // What diverged may be out of all proportion just before: the axis is that of what came to the end.
    const last = found.mean[place][curves.steps.length - 1] !== null;
    (last ? whole : partial).push(...found.mean[place], ...low, ...high);
    legend.push({ label: `${configuration.label} (rank ${configuration.rank})`, color, dash });
  });
  for (const trace of traces) if (trace.mode === "lines+markers" && curves.steps.length > 1) trace.mode = "lines";
  const yaxis = fixedAxis(name, whole.length ? whole : partial);
  return {
    traces, legend: legend.length > ON_LIGHT.length ? [legend[0], legend[legend.length - 1]] : legend,
    layout: layout({ xaxis: axis("training steps"), yaxis, height: 420 }),
  };
}

function fixedAxis(name, values) {
  const made = metricAxis(name, values.filter((value) => value !== null && value > 0));
  const log = made.type === "log";
  const [low, high] = extent(values.filter((value) => value !== null && (!log || value > 0)));
  if (!(low < high)) return made;
  const [first, last] = log ? [Math.log10(low), Math.log10(high)] : [low, high];
  return { ...made, range: [first - 0.05 * (last - first), last + 0.05 * (last - first)] };
}

function ramp(share) {
  const ends = isDark() ? [[60, 90, 120], [217, 239, 255]] : [[170, 195, 218], [8, 48, 107]];
  const mix = (place) => Math.round(ends[0][place] + (ends[1][place] - ends[0][place]) * (1 - share));
  return `#${[0, 1, 2].map((place) => mix(place).toString(16).padStart(2, "0")).join("")}`;
}

function heatPanel() {
  const chosen = (id) => Number(document.getElementById(id).value);
  const across = DATA.fields[chosen("heat-x")], up = DATA.fields[chosen("heat-y")];
  if (across === up) return { message: "Choose two different fields." };
  const name = DATA.columns.filter((column) => column.of === "metric")[chosen("heat-value")].name;
  const values = metricColumn(name).values, status = fieldColumn("status");
  const grid = (start) => up.labels.map(() => across.labels.map(() => start));
  const sum = grid(0), finite = grid(0), lost = grid(0);
  for (let row = 0; row < ROWS; row++) {
    const x = across.cells[row], y = up.cells[row];
    if (x < 0 || y < 0) continue;
    if (values[row] !== null) { sum[y][x] += values[row]; finite[y][x] += 1; }
    else if (["diverged", "failed", "done"].includes(status.labels[status.values[row]])) lost[y][x] += 1;
  }
  const mean = sum.map((line, y) => line.map((total, x) => (finite[y][x] ? total / finite[y][x] : null)));
  const flat = mean.flat().filter((value) => value !== null), [low, high] = extent(flat);
  const masked = [], hover = mean.map((line, y) => line.map((value, x) => {
    if (lost[y][x]) masked.push({ x, y, whole: !finite[y][x] });
    return plain(`${across.name}: ${across.labels[x]}`) + "<br>" + plain(`${up.name}: ${up.labels[y]}`) + "<br>" +
      plain(`${name}: ${shortNumber(value, name)}`) + `<br>${finite[y][x]} with a value, ${lost[y][x]} without`;
  }));
  if (!flat.length && !masked.length) return { message: "No member has come to its end yet." };
  const width = document.getElementById("heat").clientWidth;
  const room = across.labels.length * 62 < width - 150 && up.labels.length * across.labels.length <= 144;
  const log = flat.length > 1 && low > 0 && high > 100 * low;
  const shown = log ? mean.map((line) => line.map((value) => value && Math.log10(value))) : mean;
  const title = { text: plain(log ? `log10 of ${name}` : name), side: "right" };
  const bar = { thickness: 12, outlinewidth: 0, title };
  if (DATA.percent.includes(name) && !log) bar.tickformat = ".3~%";
  const traces = [{
    z: shown, type: "heatmap", xgap: 1, ygap: 1, colorscale: scale(name), colorbar: bar, hoverinfo: "text", text: hover,
    hoverongaps: true,
  }];
  const layer = layout({
    xaxis: axis(across.name, { ...cellTicks(across, width / 55), showgrid: false }),
    yaxis: axis(up.name, { ...cellTicks(up, 16), showgrid: false }), height: 440,
  });
  if (room) {
    const ends = extent(shown.flat().filter((value) => value !== null));
    layer.annotations = shown.flatMap((line, y) => line.map((value, x) => ({ value, x, y })))
      .filter((cell) => cell.value !== null)
      .map(({ value, x, y }) => ({
        x, y, text: shortNumber(mean[y][x], name), showarrow: false,
        font: { size: 12, color: contrasting(traces[0].colorscale, (value - ends[0]) / (ends[1] - ends[0] || 1)) },
      }));
  }
  const red = themeColor("vermilion");
  traces.push({
    x: masked.map((cell) => cell.x), y: masked.map((cell) => cell.y + (cell.whole ? 0 : 0.32)), type: "scatter",
    mode: "markers", hoverinfo: "skip",
    marker: { symbol: "x-thin", size: masked.map((cell) => (cell.whole ? 16 : 7)), line: { width: 2, color: red } },
  });
  const legend = masked.length ? [{ label: "diverged or no finite value", shape: "cross", color: red }] : [];
  return { traces, legend, layout: layer };
}

// Black or white, whichever is told better from the colour at this share of the scale.
function contrasting(colors, share) {
  const place = share < 0.5 ? 0 : 1, part = share * 2 - place;
  const channel = (color, at) => parseInt(color.slice(at, at + 2), 16);
  const [red, green, blue] = [1, 3, 5].map((at) =>
    channel(colors[place][1], at) * (1 - part) + channel(colors[place + 1][1], at) * part);
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#101010" : "#ffffff";
}

function importancePanel() {
  const shares = [...DATA.importance].reverse(), blue = themeColor("blue");
  return {
    traces: [{
      x: shares.map((share) => share.share), y: shares.map((_, place) => place), type: "bar", orientation: "h",
      marker: { color: translucent(blue, 0.55) }, hoverinfo: "x", width: 0.55,
      error_x: {
        type: "data", symmetric: false, array: shares.map((share) => Math.max(0, share.high - share.share)),
        arrayminus: shares.map((share) => Math.max(0, share.share - share.low)), color: themeColor("text"),
        thickness: 1.5, width: 5,
      },
    }],
    layout: layout({
      height: DATA.importance_height,
      xaxis: axis("share of the variance explained", { range: [0, 1.02], tickformat: ".0%" }),
      yaxis: axis("", {
        title: undefined, tickmode: "array", tickvals: shares.map((_, place) => place), showgrid: false,
        ticktext: shares.map((share) => plain(share.field)),
      }),
    }),
  };
}

// The last step of every member that was stopped or diverged, and of those that were not.
function endsPanel(kind) {
  const select = document.getElementById(`ends-${kind}-field`);
  const field = DATA.fields[select ? Number(select.value) : 0];
  const status = fieldColumn("status");
  const of = (row) => status.labels[status.values[row]];
  const look = {
    done: ["went to the end", themeColor("grey"), "circle", () => DATA.steps],
    stopped: ["stopped", themeColor("blue"), "circle", (row) => fieldColumn("stopped_at")?.values[row]],
    diverged: ["diverged", themeColor("vermilion"), "x-thin", (row) => fieldColumn("diverged_at")?.values[row]],
  };
  const traces = [], legend = [];
  for (const [name, [label, color, symbol, step]] of Object.entries(look)) {
    if (kind === "diverged" && name !== "diverged") continue;
    const together = new Map(); // cell and step -> how many members
    for (let row = 0; row < ROWS; row++) {
      const last = of(row) === name && field.cells[row] >= 0 ? step(row) : null;
      if (last === null || last === undefined) continue;
      const key = `${field.cells[row]} ${last}`;
      together.set(key, (together.get(key) || 0) + 1);
    }
    if (!together.size) continue;
    const points = [...together.keys()].map((key) => key.split(" ").map(Number)), counts = [...together.values()];
    traces.push({
      x: points.map(([cell]) => field.centers[cell]), y: points.map(([, last]) => last), type: "scatter",
      mode: "markers", hoverinfo: "text", cliponaxis: false,
      marker: {
        color, symbol, size: counts.map((count) => Math.min(24, 4 + 3 * Math.sqrt(count))), opacity: 0.75,
        line: { width: symbol === "circle" ? 0 : 2, color },
      },
      text: points.map(([cell, last], place) =>
        plain(`${field.name}: ${field.labels[cell]}`) + `<br>step ${last}: ${counts[place]} ${label}`),
    });
    legend.push({ label, color, shape: symbol === "circle" ? "dot" : "cross" });
  }
  if (!traces.length) return { message: "No member on this page ended so, with its step known." };
  const height = 340, steps = axis("last step", { rangemode: "tozero" });
  return { traces, legend, layout: layout({ xaxis: fieldAxis(field), yaxis: steps, height }) };
}

function deadPanel(place) {
  const field = DATA.fields[place], traces = [], legend = [];
  DATA.dead[place].forEach((layer, position) => {
    traces.push(...meanTraces(field, layer, series(position), layer.name, DASHES[position]));
    legend.push({ label: layer.name, color: series(position), dash: DASHES[position] });
  });
  const percent = DATA.dead[place].every((layer) => DATA.percent.includes(layer.name));
  const shares = axis("dead units", { rangemode: "tozero", ...(percent ? { tickformat: ".3~%" } : {}) });
  return { traces, legend, layout: layout({ xaxis: fieldAxis(field), yaxis: shares }) };
}

function slopesPanel() {
  const place = Number(document.getElementById("slope-which").value), traces = [], legend = [];
  DATA.slopes.forEach((name, position) => {
    const found = DATA.curves.metrics[name], color = series(position), dash = DASHES[position];
    const [mean, low, high] = [found.mean[place], found.low[place], found.high[place]];
    traces.push(...bandTraces(DATA.curves.steps, mean, low, high, color, name, dash));
    legend.push({ label: name, color, dash });
  });
  return { traces, legend, layout: layout({ xaxis: axis("training steps"), yaxis: axis("slope") }) };
}
