"use strict";
// What the page does by itself: charts, sorting, filtering, raw figures, and ranking by other weights.
const data = JSON.parse(document.getElementById("data").textContent);

const options = { renderer: "svg", actions: false, config: { background: "transparent", view: { stroke: null } } };
function draw(place) {
  watcher.unobserve(place);
  if (!place.dataset.drawn) vegaEmbed(place, data.charts[place.dataset.chart], options).catch((error) => console.error(error));
  place.dataset.drawn = "true";
}

// A pilot of many cells has many panels: each chart is drawn when it comes near, and all for paper.
const watcher = new IntersectionObserver((seen) => seen.filter((one) => one.isIntersecting).forEach((one) => draw(one.target)), { rootMargin: "600px" });
const places = document.querySelectorAll("[data-chart]");
places.forEach((place) => watcher.observe(place));
window.addEventListener("beforeprint", () => places.forEach(draw));

function value(cell) {
  const number = Number(cell.textContent.replaceAll(",", ""));
  return cell.textContent.trim() === "" ? null : Number.isNaN(number) ? cell.textContent : number;
}

function before(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const keyed = [...table.tBodies[0].rows].map((row) => [value(row.cells[column]), row]);
    // What is not known stays last, whichever way.
    keyed.sort(([a], [b]) => (a === null || b === null || up ? before(a, b) : before(b, a)));
    table.tBodies[0].append(...keyed.map(([, row]) => row));
  }));
}

const filter = document.getElementById("filter");
const cells = [...document.getElementById("cell-table").tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]);
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const [row, text] of cells) {
    row.hidden = !words.every((word) => text.includes(word));
    shown += !row.hidden;
  }
  document.getElementById("matching").textContent = words.length ? `${shown} of ${cells.length} cells` : "";
});

const dialog = document.getElementById("raw");
document.getElementById("cell-table").addEventListener("click", (event) => {
  const link = event.target.closest("a[data-row]");
  if (!link) return;
  event.preventDefault();
  const list = dialog.querySelector("dl");
  list.replaceChildren();
  for (const [name, figure] of Object.entries(data.rows[link.dataset.row])) {
    const term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = name;
    text.textContent = String(figure);
    list.append(term, text);
  }
  dialog.showModal();
});

const sliders = [...document.querySelectorAll("input[data-criterion]")];
const task = document.getElementById("task");
const body = document.getElementById("standings").tBodies[0];
const printed = body.innerHTML, caption = document.querySelector("#standings caption"), said = caption.textContent;

function weights() {
  const whole = sliders.reduce((sum, slider) => sum + Number(slider.value), 0);
  return Object.fromEntries(sliders.map((slider) => [slider.dataset.criterion, whole ? Number(slider.value) / whole : 0]));
}

function text(row, content) {
  row.insertCell().textContent = content;
}

function rank() {
  const chosen = weights();
  sliders.forEach((slider) => { slider.nextElementSibling.textContent = chosen[slider.dataset.criterion].toFixed(2); });
  const sum = (scores) => Object.entries(chosen).reduce((total, [name, weight]) => total + weight * scores[name], 0);
  const standings = data.standings[task.value].map((one) => ({ ...one, total: sum(one.updated), before: sum(one.prior) }));
  standings.sort((a, b) => (a.excluded !== "") - (b.excluded !== "") || b.total - a.total);
  body.replaceChildren();
  standings.forEach((one, place) => {
    const row = body.insertRow(), head = document.createElement("th");
    row.dataset.backend = one.backend;
    text(row, one.excluded ? "-" : String(place + 1));
    head.scope = "row";
    head.textContent = one.backend;
    row.append(head);
    text(row, one.total.toFixed(2));
    row.lastChild.dataset.total = String(one.total);
    text(row, one.before.toFixed(2));
    text(row, (one.total >= one.before ? "+" : "") + (one.total - one.before).toFixed(2));
    for (let empty = 0; empty < 4; empty += 1) text(row, "");
    text(row, one.excluded);
  });
  caption.textContent = `${task.value}: total of 10, by the weights above (intervals are those of bench score)`;
  document.getElementById("moved").textContent = standings[0].excluded ? "" : `${standings[0].backend} leads`;
}

for (const slider of sliders) slider.addEventListener("input", rank);
task.addEventListener("input", rank);
document.getElementById("reset").addEventListener("click", () => {
  sliders.forEach((slider) => {
    slider.value = data.weights[slider.dataset.criterion];
    slider.nextElementSibling.textContent = data.weights[slider.dataset.criterion].toFixed(2);
  });
  task.value = data.task;
  body.innerHTML = printed;
  caption.textContent = said;
  document.getElementById("moved").textContent = "";
});
