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
      yaxis: { tickvals: places, ticktext: shares.map((share) => shortened(share.field, innerWidth < 600 ? 18 : 40)), showgrid: false, range: [-0.6, shares.length - 0.4] },
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

// The best configuration of each static group against the time of a member.
function timePanel() {
  const { lines, others, log } = DATA.time, traces = [], legend = [];
  const longest = extent([...others.seconds, ...lines.flatMap((line) => line.seconds)])[1];
  const [unit, times] = longest < 1 ? ["Milliseconds", 1000] : ["Seconds", 1], timed = (seconds) => seconds.map((each) => times * each);
  if (others.mean.length) {
    const color = themeColor("grey");
    traces.push({
      x: timed(others.seconds), y: others.mean, type: "scatter", mode: "markers", marker: { color, size: 7 },
      text: others.mean.map((value, place) => `${others.label[place]}: ${shortNumber(value, DATA.metric)}`),
    });
    legend.push({ label: "another group, at its end", color, shape: "dot" });
  }
  lines.forEach((line, position) => {
    const color = series(position), dash = DASHES[position];
    traces.push(...bandTraces(timed(line.seconds), line.mean, line.low, line.high, color, line.label, dash, lines.length > 3 ? 0.06 : 0.2));
    traces[traces.length - 1].row = rowOf(line.member); // its first member's card
    legend.push({ label: line.label, color, dash });
  });
  const values = [...others.mean, ...lines.flatMap((line) => [...line.mean, ...line.low, ...line.high])];
  const xaxis = axis(`${unit} of training per member`, log ? { type: "log" } : { rangemode: "tozero" });
  return { traces, legend, layout: layout({ xaxis, yaxis: fixedAxis(DATA.metric, values), height: 420 }) };
}
