// Sorts and filters the table of all runs; without scripts only this is missing.
"use strict";

const number = (text) => Number.parseFloat(text.replaceAll(",", ""));

// Sorting: a button in each heading; columns of numbers by their first number, empty cells last.
const table = document.getElementById("all-runs");
const body = table.tBodies[0];

function sortBy(heading, descending) {
  const column = heading.cellIndex;
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
  button.addEventListener("click", () =>
    sortBy(heading, heading.getAttribute("aria-sort") === "ascending"),
  );
  heading.append(button);
}

// Filtering: a run is shown if its row holds every word; its chapter is hidden with its row.
const form = document.getElementById("filter");
const words = document.getElementById("words");

function filter() {
  const text = body.rows.length > 1 ? words.value : "";  // an only run stays shown
  const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of body.rows) {
    const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
    const matches = wanted.every((word) => text.includes(word));
    row.hidden = !matches;
    document.getElementById(row.dataset.run).parentElement.hidden = !matches;
    shown += matches;
  }
  document.getElementById("shown").textContent = `${shown} of ${body.rows.length} shown`;
}

form.hidden = false;
form.addEventListener("submit", (event) => event.preventDefault());
words.addEventListener("input", filter);
filter();
