"use strict";
// What every figure shares: the data, the colours of the theme, axes, legends, and when it is drawn.

const DATA = JSON.parse(document.getElementById("data").textContent);
const PANELS = {}; // id -> what to draw: {traces, layout, legend} or {message}
const ROWS = DATA.columns[0].values.length;
// Okabe and Ito (2008), told apart with every common colour blindness; dashes tell them apart without colour.
const ON_LIGHT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#707070", "#000000"];
const ON_DARK = ["#56b4e9", "#ff8a3d", "#2fc79a", "#e3a0c6", "#e69f00", "#8fb8d8", "#b0b0b0", "#ffffff"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "solid", "dash", "dot"];

function fieldColumn(name) {
  return DATA.columns.find((column) => column.name === name && column.of === "member");
}

function metricColumn(name) {
  return DATA.columns.find((column) => column.name === name && column.of === "metric");
}

function cellText(column, row) {
  const value = column.values[row];
  return column.kind === "text" ? column.labels[value] : value === null ? "–" : String(value);
}

// Plotly reads some HTML in what it draws; names are shown as they are.
function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function shortNumber(value, metric) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (DATA.percent.includes(metric)) return `${Number((100 * value).toPrecision(4))} %`;
  return String(Number(value.toPrecision(4)));
}

function themeColor(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

// From weak to strong against the ground; the strong end is where the study's metric is better.
function scale(metric) {
  const ends = isDark() ? ["#2d4358", "#4f87b3", "#d9efff"] : ["#d3e0ec", "#5b93c4", "#08306b"];
  const better = metric === DATA.metric && DATA.mode === "min" ? ends.reverse() : ends;
  return better.map((color, place) => [place / 2, color]);
}

function series(place) {
  return (isDark() ? ON_DARK : ON_LIGHT)[place % ON_LIGHT.length];
}

function translucent(color, opacity) {
  const parts = [1, 3, 5].map((place) => parseInt(color.slice(place, place + 2), 16));
  return `rgba(${parts.join(",")},${opacity})`;
}

function axis(title, more) {
  const base = {
    title: { text: plain(title), standoff: 8 },
    automargin: true, zeroline: false, showline: true, ticks: "outside", ticklen: 4, exponentformat: "power",
    linecolor: themeColor("grey"), tickcolor: themeColor("grey"), gridcolor: themeColor("rule"),
  };
  return { ...base, ...more };
}

function metricAxis(name, values) {
  const finite = values.filter((value) => value !== null);
  const positive = finite.length > 2 && finite.every((value) => value > 0);
  // Losses of members that nearly diverged would leave no room for the others.
  const [low, high] = extent(finite);
  const percent = DATA.percent.includes(name) ? { tickformat: ".3~%" } : {};
  return axis(name, { ...percent, ...(positive && high > 1000 * low ? logarithmic(low, high) : {}) });
}

// Math.min of very many arguments is more than a browser takes.
function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

// Labels at the powers of ten alone where there are enough of them.
function logarithmic(low, high) {
  const most = document.documentElement.clientWidth < 600 ? 4 : 6;
  const tickfont = { size: 10.5 }; // powers are set larger by Plotly
  return { type: "log", tickfont, dtick: high / low >= 50 ? Math.max(1, Math.ceil(Math.log10(high / low) / most)) : "D2" };
}

function fieldAxis(field, more) {
  if (field.numeric) {
    const [low, high] = extent(fieldColumn(field.name).values.filter((value) => value !== null));
    return axis(field.name, { ...(field.log ? logarithmic(low, high) : {}), ...more });
  }
  return axis(field.name, { ...cellTicks(field, 12), range: [-0.6, field.labels.length - 0.4], ...more });
}

// Ticks at the places of cells, as many as there is room for.
function cellTicks(field, most) {
  const every = Math.max(1, Math.ceil(field.labels.length / most));
  const places = field.labels.map((_, place) => place).filter((place) => place % every === 0);
  const middle = (place) => String(Number(field.centers[place].toPrecision(2)));
  const text = (place) => (field.binned ? middle(place) : field.labels[place]);
  return { tickmode: "array", tickvals: places, ticktext: places.map((place) => plain(shortened(text(place)))) };
}

function shortened(label) {
  return label.length > 22 ? `${label.slice(0, 20)}…` : label;
}

function layout(more) {
  return {
    margin: { l: 56, r: 16, t: 30, b: 48 }, height: 380, showlegend: false, hovermode: "closest", dragmode: "zoom",
    paper_bgcolor: themeColor("ground"), plot_bgcolor: themeColor("ground"),
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: themeColor("text") },
    hoverlabel: { align: "left" },
    ...more,
  };
}

function draw(id, width) {
  const place = document.getElementById(id);
  if (!place) return;
  const made = PANELS[id]();
  const legend = document.querySelector(`.legend[data-for="${id}"]`);
  legend.replaceChildren(...(made.legend || []).map(legendEntry));
  if (made.message) {
    if (place.classList.contains("js-plotly-plot")) Plotly.purge(place);
    const said = document.createElement("p");
    said.className = "message";
    said.textContent = made.message;
    place.replaceChildren(said);
    place.style.minHeight = "0";
  } else {
    if (!place.classList.contains("js-plotly-plot")) place.replaceChildren();
    place.style.minHeight = `${made.layout.height}px`;
    const asked = width ? { ...made.layout, width } : made.layout;
    Plotly.react(place, made.traces, asked, {
      responsive: !asked.width, displaylogo: false,
      // Named one by one: Plotly's own list has buttons that would send the figure away.
      modeBarButtons: [["toImage", ...(id === "parallel" ? [] : ["zoom2d", "pan2d", "resetScale2d"])]],
      toImageButtonOptions: { format: "svg", filename: id },
    });
    if (made.after) made.after(place);
  }
  place.dataset.drawn = "yes";
}

function legendEntry(entry) {
  const item = document.createElement("span");
  const dashes = { solid: "", dash: "7,4", dot: "2,3", dashdot: "7,3,2,3", longdash: "12,4" };
  const shapes = {
    line: `<line x1="0" y1="6" x2="26" y2="6" stroke-width="2.5" stroke-dasharray="${dashes[entry.dash] || ""}"/>`,
    dot: '<circle cx="13" cy="6" r="3.5" stroke="none" fill="currentColor"/>',
    tick: '<path d="M9 12v-9M13 12v-9M17 12v-9" stroke-width="1.5"/>',
    cross: '<path d="M9 2l8 8M17 2l-8 8" stroke-width="2"/>',
  };
  // The shape is one of three that are written above; the label is text.
  item.innerHTML = `<svg width="26" height="12" aria-hidden="true" stroke="currentColor" fill="none">${
    shapes[entry.shape || "line"]}</svg>`;
  item.firstChild.style.color = entry.color;
  item.append(entry.label);
  return item;
}
