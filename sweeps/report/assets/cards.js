// A member's card: its configuration, its curve, its status and how to train it again; two beside each other show
// where they differ. A dot, a line or a row of a table opens it.

const cards = []; // rows, the latest last, at most two

function rowOf(member) {
  const place = fieldColumn("member").values.indexOf(member);
  return place < 0 ? undefined : place;
}

function openCard(row) {
  if (cards.includes(row)) return;
  if (cards.length === 2) cards.pop();
  cards.push(row);
  showCards();
}

function showCards() {
  const place = document.getElementById("cards");
  place.hidden = !cards.length;
  place.replaceChildren(...cards.map((row, position) => card(row, cards[1 - position])));
  const plots = [...place.querySelectorAll(".plot")];
  cards.forEach((row, position) => cardCurve(row, plots[position], position));
}

function card(row, other) {
  const member = cellText(fieldColumn("member"), row);
  const box = make("article", "", { className: "card" }), head = make("header"), rows = make("dl");
  const close = make("button", "Close", { type: "button" });
  close.addEventListener("click", () => { cards.splice(cards.indexOf(row), 1); showCards(); });
  head.append(make("h3", `Member ${member}`), close);
  for (const column of DATA.columns.filter((each) => each.name !== "member" || each.of !== "member")) {
    const text = cellText(column, row), line = make("div");
    const apart = other !== undefined && cellText(column, other) !== text;
    line.className = apart ? "differs" : "";
    line.append(make("dt", column.of === "metric" ? titled(column.name) : column.name), make("dd", cardValue(column, row)));
    if (apart) line.lastChild.append(make("small", gap(column, row, other)));
    rows.append(line);
  }
  box.append(head, rows, make("div", "", { className: "plot" }));
  if (other !== undefined) box.append(make("p", "In brackets: the difference to the other member; its curve is grey.", { className: "note" }));
  if (DATA.replay) box.append(make("p", "Train it again: ", { className: "note" }));
  if (DATA.replay) box.lastChild.append(make("code", withMember(DATA.replay, member)));
  return box;
}

function withMember(command, member) { // of which MEMBER is the last such word but for what closes a call
  const at = command.lastIndexOf("MEMBER");
  return `${command.slice(0, at)}${member}${command.slice(at + "MEMBER".length)}`;
}

function cardValue(column, row) {
  const last = column.of === "metric" && column.name === DATA.metric && column.values[row] === null && lastScore(row);
  if (last) return `${shortNumber(last.value, DATA.metric)} at step ${last.step}`; // of one that was stopped
  if (column.kind === "text" || column.values[row] === null) return cellText(column, row);
  return column.of === "metric" ? shortNumber(column.values[row], column.name) : tickText(column.values[row]);
}

function gap(column, row, other) {
  const [own, its] = [column.values[row], column.values[other]];
  if (column.kind === "text" || own === null || its === null || column.name === "seed") return "";
  const points = DATA.percent.includes(column.name) && column.of === "metric";
  const apart = Number(((points ? 100 : 1) * (own - its)).toPrecision(3));
  return ` (${apart > 0 ? "+" : ""}${minus(apart)}${points ? " points" : ""})`;
}

// Both curves on one scale, the other one faint.
function cardCurve(row, place, position) {
  const { steps, values } = DATA.trajectories;
  place.id = `card-${position}`;
  const line = (each, color, width) => ({
    x: steps.slice(0, values[each].length), y: values[each], type: "scatter", mode: values[each].length > 1 ? "lines" : "markers",
    line: { color, width }, marker: { color, size: 6 }, text: values[each].map((value, at) => `step ${steps[at]}: ${shortNumber(value, DATA.metric)}`),
  });
  const drawn = cards.filter((each) => values[each]?.length);
  if (!drawn.includes(row)) return place.remove();
  const traces = [...drawn.filter((each) => each !== row).map((each) => line(each, themeColor("rule"), 2)), line(row, themeColor("blue"), 2)];
  const yaxis = metricAxis(DATA.metric, drawn.flatMap((each) => values[each]));
  chart(place, traces, layout({ height: 200, fixed: true, xaxis: axis("Training steps"), yaxis }));
}
