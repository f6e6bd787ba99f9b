// What the pointer does in a figure: it says what a point is, opens a member's card, and enlarges a part.

function tip() {
  return document.getElementById("tip") || document.body.appendChild(
    Object.assign(document.createElement("div"), { id: "tip", hidden: true }));
}

function showTip(text, event) {
  const place = tip();
  place.hidden = !text;
  if (!text) return;
  place.textContent = text;
  const left = Math.min(event.clientX + 14, document.documentElement.clientWidth - place.offsetWidth - 8);
  place.style.left = `${Math.max(4, left) + scrollX}px`;
  place.style.top = `${event.clientY + 16 + scrollY}px`;
}

// The point of a trace that is nearest to a place in the drawing, if it is near.
function nearest(traces, x, yOf, left, top) {
  let best = null, least = REACH ** 2;
  for (const trace of traces) {
    if (!trace.text) continue;
    const cells = trace.type === "heatmap", y = yOf(trace);
    if (cells) {
      const column = Math.round(invert(x, left)), row = Math.round(invert(y, top));
      const text = trace.text[row]?.[column];
      if (text && !best) best = { trace, text };
      continue;
    }
    trace.x.forEach((value, place) => {
      if (value === null || trace.y[place] === null) return;
      const apart = (x(value) - left) ** 2 + (y(trace.y[place]) - top) ** 2;
      if (apart < least) [least, best] = [apart, { trace, place, text: trace.text[place] }];
    });
  }
  return best;
}

// Of a linear scale.
function invert(scale, at) {
  return (at - scale(0)) / (scale(1) - scale(0));
}

function followPointer(place, drawing, box, { traces, x, yOf, xRange, yRange, free }) {
  const at = (event) => {
    const edge = drawing.getBoundingClientRect(), by = drawing.viewBox.baseVal.width / (edge.width || 1);
    return [(event.clientX - edge.left) * by, (event.clientY - edge.top) * by];
  };
  const found = (event) => nearest(traces, x, yOf, ...at(event));
  let start = null, frame = null;
  drawing.addEventListener("pointermove", (event) => {
    if (!start) return showTip(found(event)?.text, event);
    const [left, top] = at(event), [first, second] = start;
    if (!frame) frame = drawing.appendChild(svg("rect", { fill: themeColor("blue"), opacity: 0.15 }));
    const sides = { x: Math.min(left, first), y: Math.min(top, second), width: Math.abs(left - first), height: Math.abs(top - second) };
    for (const [name, value] of Object.entries(sides)) frame.setAttribute(name, value);
  });
  drawing.addEventListener("pointerleave", () => { start = null; frame?.remove(); frame = null; showTip(""); });
  drawing.addEventListener("pointerdown", (event) => {
    if (free && event.pointerType === "mouse" && event.button === 0) start = at(event);
  });
  drawing.addEventListener("pointerup", (event) => {
    const from = start, to = at(event);
    start = null;
    if (from && frame && Math.abs(from[0] - to[0]) > 8 && Math.abs(from[1] - to[1]) > 8) {
      const share = (value, low, high) => Math.min(1, Math.max(0, (value - low) / (high - low)));
      const part = ([low, high], one, other) => [one, other].sort((a, b) => a - b).map((each) => low + each * (high - low));
      place.view = {
        x: part(xRange, share(from[0], box.left, box.right), share(to[0], box.left, box.right)),
        y: part(yRange, share(from[1], box.bottom, box.top), share(to[1], box.bottom, box.top)),
      };
      draw(place.id, undefined, true);
      return;
    }
    frame?.remove();
    frame = null;
    const point = found(event), row = point && (point.trace.rows ? point.trace.rows[point.place] : point.trace.row);
    if (row !== undefined && row !== null && window.openCard) openCard(row);
  });
  drawing.addEventListener("dblclick", () => { if (place.view) draw(place.id); });
}

// The figure as a file, as it is shown.
function save(place) {
  const text = new XMLSerializer().serializeToString(place.querySelector("svg"));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  link.download = `${place.id}.svg`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
