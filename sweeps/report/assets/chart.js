// Figures as SVG, of traces and a layout: scatter (lines, markers, bands), bars and cells, on linear or
// logarithmic axes. Points are hovered, clicked, and enlarged by dragging a box; a double click shows all again.

const SVG = "http://www.w3.org/2000/svg";
const FONT = 12; // of the labels
const REACH = 24; // pixels from a point within which it is meant
const MOST_TICKS = 6;

function svg(tag, attributes, children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== null) element.setAttribute(name, value);
  }
  if (typeof children === "string") element.textContent = children;
  else element.append(...(children || []));
  return element;
}

const measure = document.createElement("canvas").getContext("2d");

// How many pixels a label takes.
function widthOf(text) {
  measure.font = `${FONT}px ${getComputedStyle(document.body).fontFamily}`;
  return measure.measureText(text).width;
}

function superscript(power) {
  return [...String(power)].map((sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign])).join("");
}

// A tick's number in few characters: plain where it is short, else with a power of ten.
function tickText(value, step, percent) {
  if (percent) return `${tickText(100 * value, step && 100 * step, false)} %`;
  const size = Math.abs(value);
  if (size && (size >= 1e5 || size < 1e-4)) {
    const power = Math.floor(Math.log10(size) + 1e-9), digits = Number((value / 10 ** power).toPrecision(3));
    return `${digits === 1 ? "" : digits === -1 ? "−" : `${minus(digits)}·`}10${superscript(power)}`;
  }
  const decimals = step ? Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) : 0;
  return minus(step ? Number(value.toFixed(Math.min(decimals, 8))) : Number(value.toPrecision(4)));
}

function minus(value) {
  return String(value).replace("-", "−");
}

// Where ticks lie: at steps of 1, 2 or 5 times a power of ten, at powers of ten on a logarithmic axis.
function ticksOf(low, high, log, most) {
  if (log) {
    const first = Math.ceil(low - 1e-9), last = Math.floor(high + 1e-9), powers = last - first + 1;
    if (powers >= 2) {
      const every = Math.ceil(powers / most);
      return [...Array(powers).keys()].map((place) => first + place).filter((power) => power % every === 0)
        .map((power) => ({ at: power, text: tickText(Number(`1e${power}`)) }));
    }
    return ticksOf(10 ** low, 10 ** high, false, most).filter((tick) => tick.at > 0)
      .map((tick) => ({ at: Math.log10(tick.at), text: tick.text }));
  }
  const power = 10 ** Math.floor(Math.log10((high - low) / Math.max(1, most)));
  const fits = (step) => Math.floor(high / step + 1e-9) - Math.ceil(low / step - 1e-9) < Math.max(2, most);
  const step = [1, 2, 5, 10, 20].map((each) => each * power).find(fits);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at++) found.push(at * step);
  return found.map((at) => ({ at, step, text: "" })).map((tick) => ({ ...tick, text: tickText(tick.at, step) }));
}

// What an axis shows, in its own scale: what it was told to, or what holds all points and a little more.
function rangeOf(spec, values, padding) {
  const log = spec.type === "log";
  const laid = values.filter((value) => value !== null && Number.isFinite(value) && (!log || value > 0))
    .map((value) => (log ? Math.log10(value) : value));
  if (spec.range) return spec.range;
  let [low, high] = laid.length ? extent(laid) : [0, 1];
  if (spec.rangemode === "tozero") [low, high] = [Math.min(0, low), Math.max(0, high)];
  if (low === high && spec.percent) return [Math.max(0, low - 0.05), Math.min(1, low + 0.05)];
  if (low === high) return [low - (log ? 0.5 : Math.abs(low) * 0.1 || 1), high + (log ? 0.5 : Math.abs(high) * 0.1 || 1)];
  const more = padding * (high - low);
  return [spec.rangemode === "tozero" && low === 0 ? 0 : low - more, high + more];
}

function axisTicks(spec, [low, high], most) {
  if (spec.tickvals) {
    return spec.tickvals.map((at, place) => ({ at, text: spec.ticktext[place] })).filter(({ at }) => (low - at) * (high - at) <= 0);
  }
  const ticks = ticksOf(low, high, spec.type === "log", Math.min(MOST_TICKS, most));
  if (!spec.percent) return ticks;
  const value = (tick) => (spec.type === "log" ? 10 ** tick.at : tick.at);
  return ticks.map((tick) => ({ ...tick, text: tickText(value(tick), tick.step, true) }));
}

// Every value that the traces reach along an axis.
function reached(traces, along) {
  const found = [];
  for (const trace of traces) {
    if (along === "y" && trace.yaxis === "y2") continue;
    const values = trace[along] || [], error = trace[`error_${along}`];
    for (const value of values) found.push(value);
    if (error) {
      values.forEach((value, place) => {
        if (value !== null) found.push(value + error.array[place], value - (error.arrayminus || error.array)[place]);
      });
    }
    if (trace.type === "bar" && along === "x") found.push(0);
  }
  return found;
}

// The figure: scales, axes, marks, and what the pointer does. `view` is what was enlarged, if anything.
function chart(place, traces, layout, view) {
  const width = layout.width || place.clientWidth || 640, height = layout.height;
  const freed = layout.xaxis.levels ? { tickvals: undefined } : {};
  const xs = { ...layout.xaxis, ...(view ? { range: view.x, ...freed } : {}) };
  const ys = { ...layout.yaxis, ...(view ? { range: view.y } : {}) };
  const xRange = rangeOf(xs, reached(traces, "x"), 0.03), yRange = rangeOf(ys, reached(traces, "y"), 0.05);
  const yTicks = axisTicks(ys, yRange, height / 50);
  const longest = Math.max(...yTicks.map((tick) => widthOf(tick.text)), 7);
  const bar = traces.map((trace) => trace.colorbar || trace.marker?.colorbar).find(Boolean);
  const box = {
    left: 12 + longest + (ys.title ? 22 : 0), right: width - (bar ? barWidth(bar) : 18), top: 16,
    bottom: height - 46,
  };
  const scaled = (spec, [low, high], [from, to]) => (value) => {
    const laid = spec.type === "log" ? Math.log10(value) : value;
    return from + ((laid - low) / (high - low)) * (to - from);
  };
  const x = scaled(xs, xRange, [box.left, box.right]), up = scaled(ys, yRange, [box.bottom, box.top]);
  const share = (value) => box.bottom - value * (box.bottom - box.top);
  const yOf = (trace) => (trace.yaxis === "y2" ? share : up);
  const clip = `clip-${place.id}`;
  const drawing = svg("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, "font-family": layout.font.family, "font-size": FONT,
    fill: layout.font.color, xmlns: SVG,
  }, [
    svg("rect", { width, height, fill: layout.paper_bgcolor }),
    svg("clipPath", { id: clip }, [svg("rect", {
      x: box.left - 1, y: box.top - 8, width: box.right - box.left + 9, height: box.bottom - box.top + 9,
    })]),
  ]);
  drawAxes(drawing, box, { xs, ys, xRange, yRange, yTicks, width, height });
  const marks = svg("g", { class: "marks", "clip-path": `url(#${clip})` });
  for (const trace of traces) marks.append(...drawTrace(trace, x, yOf(trace), box));
  for (const note of layout.annotations || []) {
    marks.append(svg("text", {
      x: x(note.x), y: up(note.y), "text-anchor": "middle", "dominant-baseline": "central", fill: note.font.color,
    }, note.text));
  }
  drawing.append(marks);
  if (bar) drawing.append(colorbar(bar, box, place.id));
  place.replaceChildren(drawing);
  followPointer(place, drawing, box, { traces, x, yOf, xRange, yRange, free: !layout.fixed });
}

function drawAxes(drawing, box, { xs, ys, xRange, yRange, yTicks, width, height }) {
  const line = themeColor("grey"), rule = themeColor("rule");
  const room = box.right - box.left, xAt = (at) => box.left + ((at - xRange[0]) / (xRange[1] - xRange[0])) * room;
  const yAt = (at) => box.bottom - ((at - yRange[0]) / (yRange[1] - yRange[0])) * (box.bottom - box.top);
  let ticks = axisTicks(xs, xRange, Math.floor(room / 60));
  const widest = Math.max(...ticks.map((tick) => widthOf(tick.text)), 7) + 10;
  const every = xs.levels ? 1 : Math.max(1, Math.ceil((ticks.length * widest) / (room + widest)));
  let edge = -Infinity; // so that no label lies on another
  ticks = ticks.filter((tick, place) => {
    const half = widthOf(tick.text) / 2 + 4, free = place % every === 0 && xAt(tick.at) - half >= edge;
    if (free) edge = xAt(tick.at) + half;
    return free;
  });
  const across = svg("g", { class: "xticks" }), along = svg("g", { class: "yticks" });
  for (const tick of ticks) {
    const at = xAt(tick.at);
    if (xs.showgrid !== false) across.append(svg("path", { d: `M${at} ${box.top}V${box.bottom}`, stroke: rule }));
    across.append(svg("path", { d: `M${at} ${box.bottom}v4`, stroke: line }));
    across.append(svg("text", { x: at, y: box.bottom + 17, "text-anchor": "middle" }, tick.text));
  }
  for (const tick of yTicks) {
    const at = yAt(tick.at);
    if (ys.showgrid !== false) along.append(svg("path", { d: `M${box.left} ${at}H${box.right}`, stroke: rule }));
    along.append(svg("path", { d: `M${box.left} ${at}h-4`, stroke: line }));
    along.append(svg("text", { x: box.left - 7, y: at, "text-anchor": "end", "dominant-baseline": "central" }, tick.text));
  }
  drawing.append(across, along, svg("path", {
    d: `M${box.left} ${box.top}V${box.bottom}H${box.right}`, stroke: line, fill: "none",
  }));
  const titled = { class: "title", "text-anchor": "middle", "font-size": FONT + 1 };
  if (xs.title) drawing.append(svg("text", { ...titled, x: (box.left + box.right) / 2, y: height - 8 }, xs.title.text));
  if (ys.title) {
    const middle = (box.top + box.bottom) / 2;
    drawing.append(svg("text", { ...titled, x: 14, y: middle, transform: `rotate(-90 14 ${middle})` }, ys.title.text));
  }
}

const TRACES = { scatter: scatterMarks, bar: barMarks, heatmap: cellMarks };

function drawTrace(trace, x, y, box) {
  return TRACES[trace.type](trace, x, y, box);
}

function scatterMarks(trace, x, up, box) {
  // A band whose lower edge no logarithm has goes down to the axis.
  const y = trace.fill ? (value) => (Number.isFinite(up(value)) ? up(value) : box.bottom + 8) : up;
  const there = (place) => trace.x[place] !== null && trace.y[place] !== null && Number.isFinite(x(trace.x[place])) &&
    Number.isFinite(y(trace.y[place]));
  const places = [...trace.x.keys()], marks = [];
  const at = (place) => `${x(trace.x[place]).toFixed(1)} ${y(trace.y[place]).toFixed(1)}`;
  if (trace.mode.includes("lines")) {
    let d = "", pen = false; // a line ends where a value is missing
    for (const place of places) {
      if (there(place)) d += (pen ? "L" : "M") + (pen && trace.line.shape === "hv" ? stepped(trace, place, x, y) : "") + at(place);
      pen = there(place);
    }
    const dashes = { dash: "7 4", dot: "2 3", dashdot: "7 3 2 3", longdash: "12 4" };
    marks.push(svg("path", {
      d, fill: trace.fill ? trace.fillcolor : "none", stroke: trace.line.width ? trace.line.color : "none",
      "stroke-width": trace.line.width, "stroke-dasharray": dashes[trace.line.dash], opacity: trace.opacity,
      "stroke-linejoin": "round",
    }));
  }
  if (trace.error_y) marks.push(errorBars(trace, places.filter(there), x, y));
  if (trace.mode.includes("markers")) marks.push(...markers(trace, places.filter(there), x, y));
  return marks;
}

function stepped(trace, place, x, y) {
  return `${x(trace.x[place]).toFixed(1)} ${y(trace.y[place - 1]).toFixed(1)}L`;
}

function errorBars(trace, places, x, y) {
  const error = trace.error_y, half = (error.width || 6) / 2;
  const d = places.filter((place) => error.array[place]).map((place) => {
    const [at, low, high] = [x(trace.x[place]), y(trace.y[place] - error.array[place]), y(trace.y[place] + error.array[place])];
    return `M${at} ${low}V${high}M${at - half} ${low}h${2 * half}M${at - half} ${high}h${2 * half}`;
  }).join("");
  return svg("path", { d, stroke: error.color, "stroke-width": error.thickness || 2, fill: "none" });
}

// Markers of one look are one path, however many they are: dots are strokes of no length with round ends.
function markers(trace, places, x, y) {
  const { color, size = 6, symbol = "circle", opacity, line } = trace.marker;
  const one = !Array.isArray(color) && !Array.isArray(size) && !Array.isArray(opacity);
  const of = (value, place) => (Array.isArray(value) ? value[place] : value);
  const shape = (place, half) => {
    const [left, top] = [x(trace.x[place]).toFixed(1), y(trace.y[place]).toFixed(1)];
    if (symbol === "x-thin") return `M${left} ${top}m${-half} ${-half}l${2 * half} ${2 * half}m0 ${-2 * half}l${-2 * half} ${2 * half}`;
    if (symbol === "diamond") return `M${left} ${top}m0 ${-half}l${half} ${half}l${-half} ${half}l${-half} ${-half}z`;
    return `M${left} ${top}h0`;
  };
  const look = (place) => {
    const shade = of(color, place), half = of(size, place) / 2, faded = of(opacity, place);
    if (symbol === "x-thin") return { stroke: line.color, "stroke-width": line.width, fill: "none", opacity: faded };
    if (symbol === "diamond") return { fill: shade, opacity: faded };
    return { stroke: shade, "stroke-width": 2 * half, "stroke-linecap": "round", opacity: faded };
  };
  if (one) return [svg("path", { d: places.map((place) => shape(place, size / 2)).join(""), ...look(0) })];
  return places.map((place) => svg("path", { d: shape(place, of(size, place) / 2), ...look(place) }));
}

function barMarks(trace, x, y) {
  return trace.x.flatMap((value, place) => {
    const thick = Math.abs(y(0) - y(trace.width)), middle = y(trace.y[place]), error = trace.error_x;
    const [low, high] = [x(value - error.arrayminus[place]), x(value + error.array[place])];
    return [
      svg("rect", { x: x(0), y: middle - thick / 2, width: Math.max(0, x(value) - x(0)), height: thick, fill: trace.marker.color }),
      svg("path", {
        d: `M${low} ${middle}H${high}M${low} ${middle - 4}v8M${high} ${middle - 4}v8`, stroke: error.color, "stroke-width": 1.5,
      }),
    ];
  });
}

function cellMarks(trace, x, y) {
  const [low, high] = trace.limits, cells = [];
  trace.z.forEach((line, row) => line.forEach((value, column) => {
    if (value === null) return;
    const [left, right, bottom, top] = [x(column - 0.5), x(column + 0.5), y(row - 0.5), y(row + 0.5)];
    cells.push(svg("rect", {
      x: left + 0.5, y: top + 0.5, width: Math.max(0, right - left - 1), height: Math.max(0, bottom - top - 1),
      fill: shade(trace.colorscale, (value - low) / (high - low || 1)),
    }));
  }));
  return cells;
}

// The colour at a share of a scale of colours at places from 0 to 1.
function shade(colors, share) {
  const within = Math.min(1, Math.max(0, share)), after = Math.max(1, colors.findIndex(([place]) => place >= within));
  const [[from, first], [to, second]] = [colors[after - 1], colors[after]];
  const part = (within - from) / (to - from);
  const mixed = [1, 3, 5].map((at) => {
    const [one, other] = [first, second].map((color) => parseInt(color.slice(at, at + 2), 16));
    return Math.round(one + (other - one) * part).toString(16).padStart(2, "0");
  });
  return `#${mixed.join("")}`;
}

function barTicks(bar) {
  return axisTicks({ type: bar.log ? "log" : "linear", percent: bar.percent }, [bar.low, bar.high], 5);
}

// What a colour bar takes of the figure: itself, its labels, and its title.
function barWidth(bar) {
  return 36 + Math.max(...barTicks(bar).map((tick) => widthOf(tick.text)), 0) + (bar.title ? 26 : 0);
}

// What the colours mean, at the right of the figure: {title, colors, low, high, log, percent}.
function colorbar(bar, box, id) {
  const height = Math.min(220, box.bottom - box.top - 30), top = box.top + 10, left = box.right + 14, name = `bar-${id}`;
  const stops = bar.colors.map(([place, color]) => svg("stop", { offset: place, "stop-color": color }));
  const ticks = barTicks(bar), span = bar.high - bar.low || 1, across = left + barWidth(bar) - 28;
  return svg("g", { class: "colorbar" }, [
    svg("linearGradient", { id: name, x1: 0, x2: 0, y1: 1, y2: 0 }, stops),
    svg("rect", { x: left, y: top, width: 11, height, fill: `url(#${name})` }),
    svg("text", {
      "text-anchor": "middle", transform: `rotate(90 ${across} ${top + height / 2})`, x: across, y: top + height / 2,
    }, shortened(bar.title, 30)),
    ...ticks.map((tick) => svg("text", {
      x: left + 16, y: top + height - ((tick.at - bar.low) / span) * height, "dominant-baseline": "central",
    }, tick.text)),
  ]);
}
