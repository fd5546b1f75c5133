// What the page does beyond being read: it sorts, filters, and tells a curve's values at a step.
// Everything that it shows is in the document already; without it the page lacks nothing else.
"use strict";

const number = (text) => Number.parseFloat(text.replaceAll(",", ""));

// Sorting: a button in each heading; columns of numbers by their first number, empty cells last.
const table = document.getElementById("all-runs");
const body = table.tBodies[0];

function sortBy(heading) {
  const column = heading.cellIndex;
  const descending = heading.getAttribute("aria-sort") === "ascending";
  const value = (row) => row.cells[column].textContent.trim();
  const numeric = heading.classList.contains("number");
  const order = (a, b) => {
    const [first, second] = [value(a), value(b)];
    if (first === "" || second === "") return (first === "") - (second === "");
    const found = numeric ? number(first) - number(second) : first.localeCompare(second);
    return descending ? -found : found;
  };
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  body.append(...[...body.rows].sort(order));
}

for (const heading of table.tHead.rows[0].cells) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...heading.childNodes);
  button.addEventListener("click", () => sortBy(heading));
  heading.append(button);
}

// Filtering: a run is shown where its row holds every word; its part of the page goes with its row.
const form = document.getElementById("filter");
const words = document.getElementById("words");

function filter() {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of body.rows) {
    const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
    const matches = wanted.every((word) => text.includes(word));
    row.hidden = !matches;
    document.getElementById(row.dataset.run).hidden = !matches;
    shown += matches;
  }
  document.getElementById("shown").textContent = `${shown} of ${body.rows.length} shown`;
}

form.hidden = false;
form.addEventListener("submit", (event) => event.preventDefault());
words.addEventListener("input", filter);
filter();

// Values: a slider below each chart, which keyboard, finger and screen reader know; the pointer moves it.
function follow(figure) {
  const { left, right, start, end, logarithmic, step } = figure.dataset;
  const svg = figure.querySelector("svg");
  const scale = logarithmic === "1" ? Math.log : Number;
  const place = (x) =>
    Number(left) + ((scale(x) - scale(start)) / (scale(end) - scale(start))) * (right - left);
  const lines = [...figure.querySelectorAll("li[data-x]")].map((item) => ({
    name: item.dataset.name,
    value: item.querySelector(".value"),
    at: new Map(item.dataset.x.split(" ").map((x, index) => [x, item.dataset.y.split(" ")[index]])),
  }));
  const steps = [...new Set(lines.flatMap((line) => [...line.at.keys()]))];
  steps.sort((a, b) => place(a) - place(b));
  if (steps.length < 2) return;

  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "path");
  cursor.setAttribute("class", "cursor");
  svg.append(cursor);
  const slider = document.createElement("input");
  slider.type = "range";
  slider.max = steps.length - 1;
  slider.value = slider.max;
  slider.setAttribute("aria-label", `${step} of ${figure.querySelector("figcaption").textContent}`);
  const at = document.createElement("span");
  at.className = "at";
  svg.after(slider, at);

  function show() {
    const x = steps[slider.value];
    for (const line of lines) line.value.textContent = line.at.get(x) ?? "–";
    at.textContent = `${step} ${x}`;
    cursor.setAttribute("d", `M${place(x)} 12V208`);
    const values = lines.map((line) => `${line.name} ${line.value.textContent}`);
    slider.setAttribute("aria-valuetext", `${step} ${x}: ${values.join(", ")}`);
  }
  function point(event) {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const distances = steps.map((value) => Math.abs(place(value) - x));
    slider.value = distances.indexOf(Math.min(...distances));
    show();
  }
  slider.addEventListener("input", show);
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  show();
}
document.querySelectorAll("figure[data-step]").forEach(follow);

// On paper nothing is folded away but the curves' numbers.
const folded = document.querySelectorAll("details:not([open], .numbers-of-curves)");
addEventListener("beforeprint", () => folded.forEach((one) => (one.open = true)));
addEventListener("afterprint", () => folded.forEach((one) => (one.open = false)));
