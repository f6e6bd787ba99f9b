// What happens when: the table comes first; figures are drawn when they come near the window, and again when the
// theme or the width changes.

function listen(ids, panel) {
  ids.forEach((id) => document.getElementById(id)?.addEventListener("change", () => draw(panel)));
}

function register() {
  DATA.fields.forEach((_, place) => {
    PANELS[`against-${place}`] = () => againstPanel(place);
    listen([`color-${place}`, `apart-${place}`], `against-${place}`);
    if (DATA.dead) PANELS[`dead-${place}`] = () => deadPanel(place);
  });
  Object.assign(PANELS, {
    stops: stopsPanel, scores: scoresPanel, history: historyPanel, lineage: lineagePanel, curves: curvesPanel, heat: heatPanel, parallel: parallelPanel, importance: importancePanel, slopes: slopesPanel,
    "time-lines": timePanel,
    "ends-diverged": endsPanel,
  });
  (DATA.lineage?.fields || []).forEach((_, place) => { PANELS[`evolved-${place}`] = () => evolvedPanel(place); });
  listen(["curve-metric", "curve-which", "curve-members"], "curves");
  listen(["heat-x", "heat-y", "heat-value"], "heat");
  listen(["slope-which"], "slopes");
  listen(["scores-field"], "scores");
  listen(["ends-diverged-field"], "ends-diverged");
}

function drawn() {
  return [...document.querySelectorAll('.plot[data-drawn="yes"]')].map((place) => place.id);
}

function followTheme() {
  const button = document.getElementById("theme");
  const names = { "": "Theme: as the system", light: "Theme: light", dark: "Theme: dark" };
  button.addEventListener("click", () => {
    const root = document.documentElement, order = ["", "light", "dark"];
    const next = order[(order.indexOf(root.dataset.theme || "") + 1) % order.length];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    button.textContent = names[next];
    drawn().forEach((id) => draw(id));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn().forEach((id) => draw(id)));
}

function followPrinter() {
  let theme;
  addEventListener("beforeprint", () => {
    theme = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = "light";
    document.querySelectorAll(".plot").forEach((place) => draw(place.id, 660)); // the width of a page of paper
  });
  addEventListener("afterprint", () => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    drawn().forEach((id) => draw(id));
  });
}

register();
buildMembers();
followTheme();
followPrinter();
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting) {
      watcher.unobserve(entry.target);
      draw(entry.target.id);
    }
  }
}, { rootMargin: "300px" });
for (const place of document.querySelectorAll(".plot")) watcher.observe(place);
let width = document.documentElement.clientWidth, resizing;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(() => {
    if (width === document.documentElement.clientWidth) return;
    width = document.documentElement.clientWidth;
    drawn().forEach((id) => draw(id));
  }, 200);
});
