// The figures of what a schedule or a search decided.

// The last score of a member, and the step it was seen at; null where it was never evaluated.
function lastScore(row) {
  const { steps, values } = DATA.trajectories, own = values[row];
  return own.length ? { step: steps[own.length - 1], value: own[own.length - 1] } : null;
}

// Every member's curve to its stop, and a dot at its end in the colour of its score.
function stopsPanel() {
  const { steps, values } = DATA.trajectories, rows = [...values.keys()].filter((row) => values[row].length);
  if (!rows.length) return { message: "Nothing was evaluated yet." };
  const status = fieldColumn("status"), done = (row) => status.labels[status.values[row]] === "done";
  const ends = rows.map(lastScore), grey = themeColor("grey"), [low, high] = extent(ends.map((end) => end.value));
  const log = low > 0 && high > 1000 * low, laid = (value) => (log ? Math.log10(value) : value);
  const share = (value) => (laid(value) - laid(low)) / (laid(high) - laid(low) || 1), colors = lineScale();
  const traces = rows.map((row) => ({
    x: steps.slice(0, values[row].length), y: values[row], type: "scatter", mode: "lines", row, opacity: done(row) ? 0.9 : 0.5,
    line: { color: done(row) ? themeColor("blue") : grey, width: done(row) ? 1.4 : 0.8 }, text: values[row].map(() => memberText(row)),
  }));
  const percent = DATA.percent.includes(DATA.metric);
  const dots = rows.flatMap((row, place) => steps.map((step, at) => ({ row, step, value: values[row][at] }))
    .filter((dot) => dot.step === ends[place].step || (dot.step < ends[place].step && DATA.rungs.includes(dot.step)))
    .filter((dot) => dot.value !== null));
  traces.push({
    x: dots.map((dot) => dot.step), y: dots.map((dot) => dot.value), type: "scatter", mode: "markers", rows: dots.map((dot) => dot.row),
    text: dots.map((dot) => `${memberText(dot.row)}\n${shortNumber(dot.value, DATA.metric)} at step ${dot.step}`),
    marker: {
      size: 7, color: dots.map((dot) => shade(colors, share(dot.value))),
      colorbar: { title: "Score at a rung or at the end", colors, low: laid(low), high: laid(high), log, percent },
    },
  });
  const legend = [
    { label: "went to the end", color: themeColor("blue") }, { label: "stopped or diverged", color: grey },
    { label: "score at a rung or at the end", shape: "dot", color: themeColor("text") },
  ];
  const marks = [...new Set([...DATA.rungs, DATA.steps])], far = steps[0] > 0 && DATA.steps >= 8 * marks[0]; // powers of eta
  const at = { type: "log", levels: true, tickvals: marks.map(Math.log10), ticktext: marks.map((step) => tickText(step)) };
  const xaxis = axis("Training steps", far ? at : {});
  return { traces, legend, layout: layout({ xaxis, yaxis: metricAxis(DATA.metric, ends.map((end) => end.value)) }) };
}

// The last score of every member against a field, the stronger the later it was stopped.
function scoresPanel() {
  const select = document.getElementById("scores-field"), field = DATA.fields[select ? Number(select.value) : 0];
  const rows = [...Array(ROWS).keys()].filter((row) => lastScore(row) && field.cells[row] >= 0);
  if (!rows.length) return { message: "Nothing was evaluated yet." };
  const ends = rows.map(lastScore), rungs = [...new Set(ends.map((end) => end.step))].sort((one, other) => one - other);
  const strength = (step) => (rungs.length > 1 ? 0.25 + 0.75 * (rungs.indexOf(step) / (rungs.length - 1)) : 1);
  const blue = themeColor("blue"), y = ends.map((end) => end.value);
  const traces = [{
    x: positions(field, rows), y, type: "scatter", mode: "markers", rows,
    text: rows.map((row, place) => `${memberText(row)}\n${shortNumber(y[place], DATA.metric)} at step ${ends[place].step}`),
    marker: { color: blue, size: 8, opacity: ends.map((end) => strength(end.step)) },
  }];
  const shown = rungs.length > 6 ? [rungs[0], rungs[rungs.length - 1]] : rungs;
  const legend = shown.map((step) => ({ label: `last score at step ${step}`, shape: "dot", color: translucent(blue, strength(step)) }));
  return { traces, legend, layout: layout({ xaxis: fieldAxis(field), yaxis: metricAxis(DATA.metric, y) }) };
}

function historyPanel() {
  const { costs, best } = DATA.history, color = themeColor("blue");
  const line = { color, width: 2, shape: "hv" };
  const traces = [{
    x: costs, y: best, type: "scatter", mode: "lines+markers", line, marker: { color, size: 4 },
    text: best.map((value, place) => `${shortNumber(value, DATA.metric)} after ${costs[place]} member-steps`),
  }];
  return { traces, layout: layout({ height: 320, xaxis: axis("Member-steps trained"), yaxis: metricAxis(DATA.metric, best) }) };
}

// The lines of the table of lineages, a list of places in it per member.
function lineages() {
  const found = new Map();
  DATA.lineage.member.forEach((member, place) => found.set(member, [...(found.get(member) || []), place]));
  return found;
}

function evolvedPanel(place) {
  const { step, values, ancestor, fields, log, best } = DATA.lineage, own = values[place], grey = themeColor("grey");
  const traces = [], text = themeColor("text"), lived = new Set([...lineages().values()].map((line) => ancestor[line[line.length - 1]]));
  for (const [member, line] of lineages()) {
    traces.push({
      x: [...line.map((at) => step[at]), DATA.steps], y: [...line, line[line.length - 1]].map((at) => own[at]), type: "scatter", mode: "lines",
      line: { color: grey, width: 1, shape: "hv" }, opacity: 0.6, row: rowOf(member),
      text: [...line, line[line.length - 1]].map((at) => `member ${member}: ${fields[place]} = ${tickText(own[at])}`),
    });
  }
  const begun = [...lineages()].map(([member, line]) => [member, line[0]]);
  traces.push({
    x: begun.map(() => 0), y: begun.map(([, at]) => own[at]), type: "scatter", mode: "markers", rows: begun.map(([member]) => rowOf(member)),
    text: begun.map(([member, at]) => `member ${member} began at ${tickText(own[at])}`),
    marker: { color: themeColor("blue"), size: 8, opacity: begun.map(([member]) => (lived.has(member) ? 1 : 0.3)) },
  });
  traces.push({
    x: [...best.step, DATA.steps], y: [...best.values[place], best.values[place][best.step.length - 1]], type: "scatter", mode: "lines",
    line: { color: themeColor("vermilion"), width: 3, shape: "hv" },
  });
  const legend = [
    { label: "one member", color: grey }, { label: "initial value", shape: "dot", color: themeColor("blue") },
    { label: "the best one's ancestors", color: themeColor("vermilion") },
  ];
  const yaxis = axis(fields[place], log[place] ? { type: "log" } : {});
  return { traces, legend, layout: layout({ height: 320, xaxis: axis("Training steps"), yaxis }) };
}

function lineagePanel() {
  const { step, source, ancestor } = DATA.lineage, found = lineages(), members = [...found.keys()], traces = [];
  const up = (member) => members.indexOf(member), ended = new Map(); // ancestor -> members that descend from it at the end
  for (const line of found.values()) ended.set(ancestor[line[line.length - 1]], (ended.get(ancestor[line[line.length - 1]]) || 0) + 1);
  const heads = [...ended.keys()].sort((one, other) => ended.get(other) - ended.get(one)), grey = themeColor("grey");
  const told = heads.slice(0, 6), shade = (head) => (told.includes(head) ? series(told.indexOf(head)) : grey), color = (at) => shade(ancestor[at]);
  for (const [member, line] of found) {
    line.forEach((at, place) => {
      const next = place + 1 < line.length ? step[line[place + 1]] : DATA.steps;
      const said = `member ${member}, state of ancestor ${ancestor[at]}`;
      if (source[at] !== member && up(source[at]) >= 0) {
        traces.push({
          x: [step[at] - 0.02 * DATA.steps, step[at]], y: [up(source[at]), up(member)], type: "scatter", mode: "lines",
          line: { color: color(at), width: 1 }, opacity: told.includes(ancestor[at]) ? 0.8 : 0.4,
        });
      }
      traces.push({
        x: [step[at], next], y: [up(member), up(member)], type: "scatter", mode: "lines", line: { color: color(at), width: told.includes(ancestor[at]) ? 3 : 1.5 },
        row: rowOf(member), text: [said, said],
      });
    });
  }
  const every = Math.max(1, Math.ceil(members.length / 16)), shown = members.filter((_, place) => place % every === 0);
  const yaxis = axis("Member", { tickvals: shown.map(up), ticktext: shown.map(String), showgrid: false, range: [members.length - 0.4, -0.6] });
  const legend = told.map((head) => ({ label: `begun by member ${head}: ${ended.get(head)} at the end`, color: shade(head) }));
  legend.push({ label: heads.length > told.length ? "others" : "died out", color: grey });
  return { traces, legend, layout: layout({ xaxis: axis("Training steps"), yaxis }) };
}
