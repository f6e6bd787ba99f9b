// Learning curves: lines over training with their bands.

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

// What is drawn: a group of the configurations that have values, or the one that was chosen.
function curveChoice(found) {
  const groups = DATA.curves.groups, which = Number(document.getElementById("curve-which").value);
  const there = [...DATA.curves.configurations.keys()].filter((place) => found.mean[place].some((value) => value !== null));
  if (which >= groups.length) return there.filter((place) => place === which - groups.length);
  if (groups[which] === "best") return there.slice(0, 1);
  if (groups[which] === "all" || there.length <= 8) return there;
  return [...Array(8).keys()].map((place) => there[Math.round((place * (there.length - 1)) / 7)]);
}

// A curve of one evaluation is a dot, as a line it would not be seen.
function curveMode(mean) {
  return mean.filter((value) => value !== null).length > 1 ? "lines" : "lines+markers";
}

// The axis, and in the legend which curves lie nowhere on it.
function axisOfCurves(name, values, legend, means) {
  const made = fixedAxis(name, values), laid = (value) => (made.type === "log" ? Math.log10(value) : value);
  const seen = (value) => value !== null && made.range[0] <= laid(value) && laid(value) <= made.range[1];
  legend.forEach((entry, place) => { if (made.range && !means[place].some(seen)) entry.label += ", beyond the axis"; });
  return made;
}

function curvesPanel() {
  const curves = DATA.curves;
  const names = Object.keys(curves.metrics);
  const name = names[Number(document.getElementById("curve-metric").value)];
  const found = curves.metrics[name];
  const chosen = curveChoice(found);
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
    traces[traces.length - 1].mode = curveMode(found.mean[place]);
    // What diverged may be out of all proportion just before: the axis is that of what came to the end.
    const last = found.mean[place][curves.steps.length - 1] !== null || !configuration.members.some(hasDiverged);
    (last ? whole : partial).push(...found.mean[place], ...low, ...high);
    legend.push({ label: `${configuration.label} (rank ${configuration.rank})`, color, dash });
  });
  const yaxis = axisOfCurves(name, whole.length ? whole : partial, legend, ordered.map((place) => found.mean[place]));
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
