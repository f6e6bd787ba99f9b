"use strict";
// What every figure shares: the data, the colours of the theme, axes, legends, and when it is drawn.

const DATA = JSON.parse(document.getElementById("data").textContent);
const PANELS = {}; // id -> what to draw: {traces, layout, legend} or {message}
const ROWS = DATA.columns[0].values.length;
// After Okabe and Ito (2008), told apart with every common colour blindness, and darkened to a contrast of 4.5 with
// white; dashes tell them apart without colour.
const ON_LIGHT = ["#0072b2", "#b84f00", "#007a59", "#a8457f", "#8f6100", "#5b5fc7", "#696969", "#000000"];
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
  if (column.kind === "text") return column.labels[value];
  return value === null ? "–" : Number.isInteger(value) ? String(value) : digits(value, 6);
}

function shortNumber(value, metric) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (DATA.percent.includes(metric)) return `${Number((100 * value).toPrecision(4))} %`;
  return digits(value, 4);
}

// So many digits, as Python writes them: 4.57e-06 rather than a row of zeros.
function digits(value, most) {
  const size = Math.abs(value);
  if (!size || (size >= 1e-4 && size < 10 ** most)) return String(Number(value.toPrecision(most)));
  return Number(value.toPrecision(most)).toExponential().replace(/e([+-])(\d)$/, "e$10$2");
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
  return { title: { text: title }, ...more };
}

function metricAxis(name, values) {
  const finite = values.filter((value) => value !== null);
  const positive = finite.length > 2 && finite.every((value) => value > 0);
  // Losses of members that nearly diverged would leave no room for the others.
  const [low, high] = extent(finite);
  const log = positive && high > 1000 * low ? { type: "log" } : {};
  return axis(titled(name), { percent: DATA.percent.includes(name), ...log });
}

// `test/accuracy` as the title of an axis.
function titled(name) {
  return DATA.titles[name] || name;
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

function fieldAxis(field, more) {
  if (field.numeric) return axis(field.name, { ...(field.log ? { type: "log" } : {}), ...levelTicks(field), ...more });
  return axis(field.name, { ...cellTicks(field, 12), range: [-0.6, field.labels.length - 0.4], ...more });
}

// Ticks at the levels themselves, where there are few: none at 20, 30 and 40 where widths are 16 and 64.
function levelTicks(field) {
  if (field.binned || field.centers.length > MOST_TICKS) return {};
  const laid = (value) => (field.log ? Math.log10(value) : value);
  return { levels: true, tickvals: field.centers.map(laid), ticktext: field.centers.map((value) => tickText(value)) };
}

// Ticks at the places of cells, as many as there is room for.
function cellTicks(field, most) {
  const every = Math.max(1, Math.ceil(field.labels.length / most));
  const places = field.labels.map((_, place) => place).filter((place) => place % every === 0);
  const text = (place) => (field.numeric ? tickText(Number(field.centers[place].toPrecision(field.binned ? 2 : 4))) : field.labels[place]);
  return { tickvals: places, ticktext: places.map((place) => shortened(text(place))) };
}

function shortened(label, most = 22) {
  return label.length > most ? `${label.slice(0, most - 2)}…` : label;
}

function layout(more) {
  return {
    height: 380, paper_bgcolor: themeColor("ground"),
    font: { family: getComputedStyle(document.body).fontFamily, color: themeColor("text") }, ...more,
  };
}

// Draws a figure: anew, or with the part of it that was enlarged.
function draw(id, width, enlarged) {
  const place = document.getElementById(id);
  if (!place || !PANELS[id]) return; // the curve of a member's card is its own
  if (!enlarged && !width) delete place.view;
  const made = PANELS[id]();
  const legend = document.querySelector(`.legend[data-for="${id}"]`);
  legend.replaceChildren(...(made.legend || []).map(legendEntry));
  if (made.message) {
    const said = document.createElement("p");
    said.className = "message";
    said.textContent = made.message;
    place.replaceChildren(said);
    place.style.minHeight = "0";
  } else {
    if (made.draw) made.draw(place, width);
    else chart(place, made.traces, width ? { ...made.layout, width } : made.layout, place.view);
    place.style.minHeight = `${made.height || made.layout.height}px`;
    legend.append(saveButton(place));
  }
  place.dataset.drawn = "yes";
}

function saveButton(place) {
  const button = make("button", "Save as SVG", { type: "button", className: "save" });
  button.addEventListener("click", () => save(place));
  return button;
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
  // The shape is one of those that are written above; the label is text.
  item.innerHTML = `<svg width="26" height="12" aria-hidden="true" stroke="currentColor" fill="none">${
    shapes[entry.shape || "line"]}</svg>`;
  item.firstChild.style.color = entry.color;
  item.append(entry.label);
  return item;
}
