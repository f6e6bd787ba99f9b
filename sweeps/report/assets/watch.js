// The page of a run that goes on: asks how far it is, and draws what has changed. All addresses are relative, so
// that it works at the other end of a tunnel, under another port.

const ORDER = ["done", "running", "between rounds", "stopped", "diverged", "failed", "pending"];
const AGAIN = 1500, AGAIN_AT_REST = 5000; // milliseconds
const byId = (id) => document.getElementById(id);
let version = -1, points = [], trained = 0, waiting = null;

function text(tag, content, className) {
  const made = document.createElement(tag);
  made.textContent = content;
  if (className) made.className = className;
  return made;
}

function put(id, content) {
  if (byId(id).textContent !== content) byId(id).textContent = content;
}

function showCounts(counts, members) {
  const named = ORDER.filter((name) => counts[name]);
  const kind = (name) => `status-${name.replace(" ", "-")}`;
  document.querySelector(".counts").replaceChildren(...named.map((name) => {
    const part = text("div", "", kind(name));
    part.style.flex = `${counts[name]} 1 0`;
    return part;
  }));
  document.querySelector("#counts .legend").replaceChildren(...named.map((name) => {
    const item = text("span", "");
    item.append(text("span", "", `mark ${kind(name)}`), `${counts[name].toLocaleString("en")} ${name}`);
    return item;
  }));
  byId("counts").hidden = !named.length;
}

function showShare(share) {
  const bar = byId("share");
  bar.hidden = share === null;
  if (share === null) return;
  bar.firstElementChild.style.width = `${100 * share}%`;
  bar.setAttribute("aria-valuenow", String(Math.floor(100 * share)));
}

function showLists(state) {
  byId("damaged").hidden = !state.damaged.length;
  byId("damaged").querySelector("ul").replaceChildren(...state.damaged.map((line) => text("li", line)));
  byId("workers").hidden = !state.workers.length;
  byId("workers").querySelector("tbody").replaceChildren(...state.workers.map((cells) => {
    const row = document.createElement("tr");
    row.append(...cells.map((cell) => text("td", cell)));
    return row;
  }));
}

// What there is to choose from grows; what was chosen stays chosen.
function offer(id, options) {
  const select = byId(id), chosen = select.selectedOptions[0]?.textContent;
  if ([...select.options].map((option) => option.textContent).join("\n") === options.join("\n")) return;
  select.replaceChildren(...options.map((option, place) => {
    const made = text("option", option);
    made.value = String(place);
    return made;
  }));
  const place = options.findIndex((option) => option === chosen);
  select.value = String(Math.max(0, place));
}

function showFigures(drawn) {
  Object.assign(DATA, drawn);
  document.querySelector("#curves-part .controls").hidden = !drawn.curves;
  if (drawn.curves) {
    const held = drawn.curves.configurations.length, groups = {
      all: held > 8 ? `all ${held} on this page` : held > 1 ? `all ${held}` : "the one there is",
      best: "the best", some: "8, from the best to the worst",
    };
    offer("curve-metric", Object.keys(drawn.curves.metrics));
    offer("curve-which", [
      ...drawn.curves.groups.map((name) => groups[name]),
      ...drawn.curves.configurations.map((each) => each.label),
    ]);
  }
}

function bestPanel() {
  const best = DATA.best || { x: [], y: [], trained: 0 };
  const x = [...best.x], y = [...best.y];
  for (const [at, value] of points) {
    if (at <= (x[x.length - 1] ?? -1)) continue;
    x.push(at);
    y.push(value);
  }
  if (!x.length) return { message: "Nothing has been evaluated yet." };
  // It holds until the next one is found.
  const across = x.flatMap((at, place) => (place ? [at, at] : [at])).concat(Math.max(trained, x[x.length - 1]));
  const up = y.flatMap((value) => [value, value]), color = themeColor("blue");
  return {
    traces: [{ x: across, y: up, type: "scatter", mode: "lines", line: { color, width: 2 }, hoverinfo: "x+y" }],
    layout: layout({
      xaxis: axis("Member-steps trained", { rangemode: "tozero", exponentformat: "SI" }), yaxis: metricAxis(DATA.metric, y),
      height: 300,
    }),
  };
}

// Before a chunk or its checkpoint is there, what is known is what the process says of the best of each evaluation.
function saidCurve() {
  const x = [], y = [];
  for (const [, value, step] of points) {
    if (step > (x[x.length - 1] ?? -1)) { x.push(step); y.push(value); }
  }
  if (!x.length) return { message: "Nothing has been evaluated yet." };
  const color = themeColor("blue");
  return {
    traces: [{ x, y, type: "scatter", mode: "lines+markers", line: { color, width: 2 }, marker: { size: 5, color } }],
    legend: [{ label: "the best configuration of each evaluation, until others are written", color }],
    layout: layout({ xaxis: axis("Training steps"), yaxis: metricAxis(DATA.metric, y), height: 420 }),
  };
}

function growingCurves() {
  const curves = DATA.curves;
  if (!curves) return saidCurve();
  const name = Object.keys(curves.metrics)[Number(byId("curve-metric").value)], found = curves.metrics[name];
  const chosen = curveChoice(found);
  if (!chosen.length) return { message: "Nothing has been evaluated yet." };
  const many = chosen.length > ON_LIGHT.length, traces = [], legend = [], ahead = [], behind = [];
  chosen.forEach((place, position) => {
    const color = many ? ramp(position / (chosen.length - 1)) : series(position);
    const dash = many ? "solid" : DASHES[position], { label, rank } = curves.configurations[place];
    for (const y of byId("curve-members").checked ? found.members[place] : []) {
      traces.push({ x: curves.steps, y, type: "scatter", mode: "lines", hoverinfo: "skip", opacity: 0.45, line: { color, width: 0.8 } });
    }
    const none = found.mean[place].map(() => null), mean = found.mean[place];
    const [low, high] = many ? [none, none] : [found.low[place], found.high[place]];
    traces.push(...bandTraces(curves.steps, mean, low, high, color, label, dash));
    traces[traces.length - 1].mode = curveMode(mean);
    (mean[mean.length - 1] === null ? behind : ahead).push(...mean, ...low, ...high);
    legend.push({ label: `${label} (rank ${rank})`, color, dash });
  });
  // The axis is that of those that are furthest: what was stopped early may be far from them.
  const yaxis = axisOfCurves(name, ahead.length ? ahead : behind, legend, chosen.map((place) => found.mean[place]));
  return {
    traces, legend: many ? [legend[0], legend[legend.length - 1]] : legend,
    layout: layout({ xaxis: axis("Training steps"), yaxis, height: 420 }),
  };
}

function redraw() {
  draw("sofar");
  draw("curves");
}

function show(state) {
  put("size", state.size);
  put("heading", state.heading);
  byId("heading").dataset.state = state.state;
  put("best", state.best ? `Best${state.state === "ended" ? "" : " so far"}: ${state.best}` : "");
  put("rate", state.rate || "");
  document.title = `${state.heading.replace(/:? *$/, "")} – ${state.study}`;
  showCounts(state.counts, state.members);
  showShare(state.share);
  showLists(state);
  const grown = JSON.stringify(points) !== JSON.stringify(state.points);
  points = state.points;
  trained = state.trained ?? (state.drawn || DATA).best?.trained ?? 0;
  if (state.drawn) showFigures(state.drawn);
  version = state.version;
  if (state.drawn || grown) redraw();
  put("heard", "");
}

async function ask() {
  clearTimeout(waiting);
  let again = AGAIN;
  try {
    const answer = await fetch(`state.json?version=${version}`, { cache: "no-store" });
    if (!answer.ok) throw new Error(await answer.text());
    const state = await answer.json();
    show(state);
    if (["ended", "stopped", "gone"].includes(state.state)) again = AGAIN_AT_REST;
  } catch (error) {
    byId("heading").dataset.state = "away";
    put("heard", `Nothing is heard of sweeps watch: what is shown is how far the run was at ${
      new Date().toLocaleTimeString()} or before.`);
    again = AGAIN_AT_REST;
  }
  waiting = setTimeout(ask, again);
}

function followTheme() {
  const button = byId("theme");
  const names = { "": "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };
  button.addEventListener("click", () => {
    const root = document.documentElement, order = ["", "light", "dark"];
    const next = order[(order.indexOf(root.dataset.theme || "") + 1) % order.length];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    button.textContent = names[next];
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

Object.assign(PANELS, { sofar: bestPanel, curves: growingCurves });
for (const id of ["curve-metric", "curve-which", "curve-members"]) byId(id).addEventListener("change", () => draw("curves"));
followTheme();
addEventListener("load", redraw);
let across = document.documentElement.clientWidth, resizing = null;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(() => {
    if (across === document.documentElement.clientWidth) return;
    across = document.documentElement.clientWidth;
    redraw();
  }, 200);
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
ask();
