// The figures, but for parallel coordinates.

function memberText(row) {
  const said = [`member ${cellText(fieldColumn("member"), row)}, seed ${cellText(fieldColumn("seed"), row)}`];
  for (const field of DATA.fields) said.push(`${field.name} = ${cellText(fieldColumn(field.name), row)}`);
  return said.join("\n");
}

// Where a member lies along a field; where members share a value, their dots are spread a little.
function positions(field, rows) {
  const values = fieldColumn(field.name).values;
  if (field.numeric) {
    if (field.binned || field.centers.length < 2 || field.centers.length * 2 > rows.length) return rows.map((row) => values[row]);
    const laid = (value) => (field.log ? Math.log10(value) : value), count = field.centers.length;
    const levels = field.centers.map(laid), most = (levels[count - 1] - levels[0]) / Math.max(25, 5 * count);
    const gaps = levels.map((level, cell) => Math.min(...[levels[cell - 1], levels[cell + 1]].filter(Number.isFinite)
      .map((other) => Math.abs(other - level))));
    const off = (row) => (((row * 0.618034) % 1) - 0.5) * Math.min(most, 0.7 * gaps[field.cells[row]]);
    return rows.map((row) => (field.log ? 10 ** (laid(values[row]) + off(row)) : values[row] + off(row)));
  }
  return rows.map((row) => field.cells[row] + (((row * 0.618034) % 1) - 0.5) * 0.5);
}

function bandTraces(x, mean, low, high, color, name, dash, opacity = 0.2) {
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
      type: "scatter", mode: "lines", line: { width: 0 }, fill: "toself", fillcolor: translucent(color, opacity),
    });
  }
  traces.push({
    x, y: mean, type: "scatter", mode: x.length > 40 ? "lines" : "lines+markers", marker: { size: 6, color },
    line: { color, width: 2, dash: dash || "solid" },
    text: mean.map((value, place) => `${name}: ${shortNumber(value)} (${bounds(low[place], high[place])})`),
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
    error_y: { array: reach, color },
    text: found.mean.map((value, place) => `${name}: ${shortNumber(value)} (${bounds(found.low[place], found.high[place])})`),
  }];
}

// The best member in each bin of a sampled field: what it can reach, where the mean says what it does by chance.
function envelope(field, rows) {
  const values = metricColumn(DATA.metric).values, sign = DATA.mode === "max" ? 1 : -1, color = themeColor("orange");
  const best = field.centers.map(() => null);
  for (const row of rows) {
    const cell = field.cells[row];
    if (best[cell] === null || sign * (values[row] - values[best[cell]]) > 0) best[cell] = row;
  }
  const there = best.map((row, cell) => cell).filter((cell) => best[cell] !== null), own = there.map((cell) => best[cell]);
  return {
    x: there.map((cell) => field.centers[cell]), y: own.map((row) => values[row]), type: "scatter", mode: "lines", rows: own,
    line: { color, width: 1.5, dash: "dash" }, text: own.map((row) => `the best here: ${memberText(row)}`),
  };
}

// Another field as the colour of the dots; null if none is chosen.
function coloring(place, rows) {
  const select = document.getElementById(`color-${place}`), chosen = select ? Number(select.value) : 0;
  if (!chosen) return null;
  const field = DATA.fields.filter((_, at) => at !== place)[chosen - 1], values = fieldColumn(field.name).values;
  if (!field.numeric) {
    const legend = field.labels.slice(0, 8).map((label, at) => ({ label: shortened(label), shape: "dot", color: series(at) }));
    return { colors: rows.map((row) => series(field.cells[row])), legend };
  }
  const laid = (value) => (field.log ? Math.log10(value) : value), [low, high] = extent(rows.map((row) => values[row])).map(laid);
  const colors = isDark() ? [[0, "#5a3d8a"], [0.5, "#c05a7e"], [1, "#ffd27a"]] : [[0, "#f0b24a"], [0.5, "#c2497a"], [1, "#3a1f70"]];
  const color = (row) => (values[row] === null ? themeColor("rule") : shade(colors, (laid(values[row]) - low) / (high - low || 1)));
  return { colors: rows.map(color), bar: { title: field.name, colors, low, high, log: field.log } };
}

// Differences to the best value, seed by seed.
function apartPanel(place) {
  const field = DATA.fields[place], { to } = DATA.against[place], blue = themeColor("blue"), grey = themeColor("grey");
  const percent = DATA.percent.includes(DATA.metric), times = percent ? 100 : 1;
  const apart = Object.fromEntries(Object.entries(DATA.against[place].apart).map(([name, values]) =>
    [name, values.map((value) => (value === null ? null : times * value))]));
  const ends = field.numeric ? extent(field.centers) : [-0.5, field.labels.length - 0.5];
  const zero = { x: ends, y: [0, 0], type: "scatter", mode: "lines", line: { color: grey, width: 1.5, dash: "dash" } };
  const legend = [{ label: `${to}: mean and 95 % interval`, color: blue }];
  const yaxis = axis(`Difference to the best${percent ? ", points" : ""}`);
  return { traces: [zero, ...meanTraces(field, apart, blue, to)], legend, layout: layout({ xaxis: fieldAxis(field), yaxis }) };
}

function againstPanel(place) {
  if (document.getElementById(`apart-${place}`)?.checked) return apartPanel(place);
  const field = DATA.fields[place];
  const values = metricColumn(DATA.metric).values;
  const status = fieldColumn("status");
  const rows = [...Array(ROWS).keys()].filter((row) => field.cells[row] >= 0);
  const finite = rows.filter((row) => values[row] !== null);
  const ended = ["diverged", "failed", "done"]; // done without a finite value is drawn as diverged
  const lost = rows.filter((row) => values[row] === null && ended.includes(status.labels[status.values[row]]));
  if (!finite.length && !lost.length) return { message: "No member has come to its end yet." };
  const blue = themeColor("blue"), grey = themeColor("grey"), red = themeColor("vermilion");
  const traces = [], legend = [];
  const y = finite.map((row) => values[row]);
  if (finite.length) {
    const second = coloring(place, finite), color = second ? second.colors : grey;
    const marker = { color, size: second ? 7 : finite.length > 2000 ? 3 : 5, opacity: second ? 0.85 : 0.5, colorbar: second?.bar };
    traces.push({ x: positions(field, finite), y, type: "scatter", mode: "markers", marker, text: finite.map(memberText), rows: finite });
    traces.push(...meanTraces(field, DATA.against[place], blue, "mean"));
    legend.push({ label: "one member", shape: "dot", color: second ? themeColor("text") : grey }, ...(second?.legend || []));
    legend.push({ label: meansLabel(DATA.against[place]), color: blue });
    if (field.binned) {
      traces.push(envelope(field, finite));
      legend.push({ label: "the best in each bin", color: traces[traces.length - 1].line.color, dash: "dash" });
    }
  }
  if (lost.length) {
    const marker = { symbol: "x-thin", size: 8, line: { color: red, width: 1.5 }, opacity: lost.length > 2000 ? 0.35 : 1 };
    traces.push({
      x: positions(field, lost), y: lost.map(() => 0.02), yaxis: "y2", type: "scatter", mode: "markers", marker,
      text: lost.map(memberText), rows: lost,
    });
    legend.push({ label: "diverged or no finite value", shape: "cross", color: red });
  }
  return { traces, legend, layout: layout({ xaxis: fieldAxis(field), yaxis: metricAxis(DATA.metric, y) }) };
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
      found.members[place].forEach((curve, each) => {
        traces.push({
          x: curves.steps, y: curve, type: "scatter", mode: "lines", opacity: 0.45, line: { color, width: 0.8 },
          row: rowOf(configuration.members[each]), text: curve.map(() => `member ${configuration.members[each]}`),
        });
      });
    }
    const none = found.mean[place].map(() => null);
    const [low, high] = many ? [none, none] : [found.low[place], found.high[place]];
    traces.push(...bandTraces(curves.steps, found.mean[place], low, high, color, configuration.label, dash, ordered.length > 3 ? 0.06 : 0.2));
    traces[traces.length - 1].row = rowOf(configuration.members[0]); // its first member's card
    // What diverged may be out of all proportion just before: the axis is that of what came to the end.
    const last = found.mean[place][curves.steps.length - 1] !== null || !configuration.members.some(hasDiverged);
    (last ? whole : partial).push(...found.mean[place], ...low, ...high);
    legend.push({ label: `${configuration.label} (rank ${configuration.rank})`, color, dash });
  });
  for (const trace of traces) if (trace.mode === "lines+markers" && curves.steps.length > 1) trace.mode = "lines";
  const yaxis = fixedAxis(name, whole.length ? whole : partial);
  return {
    traces, legend: legend.length > ON_LIGHT.length ? [legend[0], legend[legend.length - 1]] : legend,
    layout: layout({ xaxis: axis("Training steps"), yaxis, height: 420 }),
  };
}

function hasDiverged(member) {
  const row = rowOf(member), status = fieldColumn("status");
  return row !== undefined && status.labels[status.values[row]] === "diverged";
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
    return `${across.name}: ${across.labels[x]}\n${up.name}: ${up.labels[y]}\n` +
      `${name}: ${shortNumber(value, name)}\n${finite[y][x]} with a value, ${lost[y][x]} without`;
  }));
  if (!flat.length && !masked.length) return { message: "No member has come to its end yet." };
  const width = document.getElementById("heat").clientWidth;
  const room = across.labels.length * 62 < width - 150 && up.labels.length * across.labels.length <= 144;
  const log = flat.length > 1 && low > 0 && high > 100 * low;
  const shown = log ? mean.map((line) => line.map((value) => value && Math.log10(value))) : mean;
  const limits = extent(shown.flat().filter((value) => value !== null)), percent = DATA.percent.includes(name);
  const bar = { title: titled(name), colors: scale(name), low: limits[0], high: limits[1], log, percent };
  const traces = [{
    x: [], y: [], z: shown, limits, type: "heatmap", colorscale: scale(name), text: hover, ...(limits[0] < limits[1] ? { colorbar: bar } : {}),
  }];
  const layer = layout({
    xaxis: axis(across.name, { ...cellTicks(across, width / 55), showgrid: false, range: [-0.5, across.labels.length - 0.5] }),
    yaxis: axis(up.name, { ...cellTicks(up, 16), showgrid: false, range: [-0.5, up.labels.length - 0.5] }), height: 440,
    fixed: true,
  });
  if (room) {
    layer.annotations = shown.flatMap((line, y) => line.map((value, x) => ({ value, x, y })))
      .filter((cell) => cell.value !== null)
      .map(({ value, x, y }) => ({
        x, y, text: shortNumber(mean[y][x], name),
        font: { color: contrasting(traces[0].colorscale, (value - limits[0]) / (limits[1] - limits[0] || 1)) },
      }));
  }
  const red = themeColor("vermilion");
  traces.push({
    x: masked.map((cell) => cell.x), y: masked.map((cell) => cell.y + (cell.whole ? 0 : 0.32)), type: "scatter",
    mode: "markers", marker: { symbol: "x-thin", size: masked.map((cell) => (cell.whole ? 16 : 7)), line: { width: 2, color: red } },
  });
  const legend = masked.length ? [{ label: "diverged or no finite value", shape: "cross", color: red }] : [];
  return { traces, legend, layout: layer };
}

// Black or white, whichever is told better from the colour at this share of the scale.
function contrasting(colors, share) {
  const color = shade(colors, share), [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#101010" : "#ffffff";
}

function importancePanel() {
  const shares = [...DATA.importance].reverse(), blue = themeColor("blue"), places = shares.map((_, place) => place);
  return {
    traces: [{
      x: shares.map((share) => share.share), y: places, type: "bar", marker: { color: translucent(blue, 0.55) }, width: 0.55,
      error_x: {
        array: shares.map((share) => Math.max(0, share.high - share.share)),
        arrayminus: shares.map((share) => Math.max(0, share.share - share.low)), color: themeColor("text"),
      },
    }],
    layout: layout({
      height: DATA.importance_height, fixed: true,
      xaxis: axis("Share of the variance explained", { range: [0, 1.02], percent: true }),
      yaxis: { tickvals: places, ticktext: shares.map((share) => shortened(share.field, 18)), showgrid: false, range: [-0.6, shares.length - 0.4] },
    }),
  };
}

// The step at which members diverged.
function endsPanel() {
  const select = document.getElementById("ends-diverged-field"), color = themeColor("vermilion");
  const field = DATA.fields[select ? Number(select.value) : 0], steps = fieldColumn("diverged_at")?.values || [];
  const together = new Map(); // cell and step -> how many members
  steps.forEach((step, row) => {
    if (step === null || field.cells[row] < 0) return;
    const key = `${field.cells[row]} ${step}`;
    together.set(key, (together.get(key) || 0) + 1);
  });
  if (!together.size) return { message: "No member on this page diverged at a step that is known." };
  const points = [...together.keys()].map((key) => key.split(" ").map(Number)), counts = [...together.values()];
  const traces = [{
    x: points.map(([cell]) => field.centers[cell]), y: points.map(([, step]) => step), type: "scatter", mode: "markers",
    marker: { symbol: "x-thin", size: counts.map((count) => Math.min(24, 4 + 3 * Math.sqrt(count))), line: { width: 2, color } },
    text: points.map(([cell, step], place) => `${field.name}: ${field.labels[cell]}\nstep ${step}: ${counts[place]} diverged`),
  }];
  const legend = [{ label: "diverged", color, shape: "cross" }];
  return { traces, legend, layout: layout({ xaxis: fieldAxis(field), yaxis: axis("Last step", { rangemode: "tozero" }), height: 340 }) };
}

function deadPanel(place) {
  const field = DATA.fields[place], traces = [], legend = [];
  DATA.dead[place].forEach((layer, position) => {
    traces.push(...meanTraces(field, layer, series(position), layer.name, DASHES[position]));
    legend.push({ label: layer.name, color: series(position), dash: DASHES[position] });
  });
  const percent = DATA.dead[place].every((layer) => DATA.percent.includes(layer.name));
  const shares = axis("Dead units", { rangemode: "tozero", percent });
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
  return { traces, legend, layout: layout({ xaxis: axis("Training steps"), yaxis: axis("Slope") }) };
}

// The best configuration of each static group against the time of a member.
function timePanel() {
  const { lines, others, log } = DATA.time, traces = [], legend = [];
  if (others.mean.length) {
    const color = themeColor("grey");
    traces.push({
      x: others.seconds, y: others.mean, type: "scatter", mode: "markers", marker: { color, size: 7 },
      text: others.mean.map((value, place) => `${others.label[place]}: ${shortNumber(value, DATA.metric)}`),
    });
    legend.push({ label: "another group, at its end", color, shape: "dot" });
  }
  lines.forEach((line, position) => {
    const color = series(position), dash = DASHES[position];
    traces.push(...bandTraces(line.seconds, line.mean, line.low, line.high, color, line.label, dash, lines.length > 3 ? 0.06 : 0.2));
    traces[traces.length - 1].row = rowOf(line.member); // its first member's card
    legend.push({ label: line.label, color, dash });
  });
  const values = [...others.mean, ...lines.flatMap((line) => [...line.mean, ...line.low, ...line.high])];
  const xaxis = axis("Seconds of training per member", log ? { type: "log" } : { rangemode: "tozero" });
  return { traces, legend, layout: layout({ xaxis, yaxis: fixedAxis(DATA.metric, values), height: 420 }) };
}
