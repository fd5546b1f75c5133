// Keeps the view in the address, so that a copy of the address shows it again: the order and the
// filter of the table of all runs, what is folded, and the place that a link led to.
"use strict";

const folds = [...document.querySelectorAll("details")];
const unfoldedAtFirst = folds.map((one) => one.open);
let place = "";
let waiting;

function writeView() {
  const view = new URLSearchParams();
  const sorted = table.querySelector("[aria-sort]");
  if (sorted) view.set(sorted.getAttribute("aria-sort"), sorted.cellIndex);
  if (words.value) view.set("filter", words.value);
  const changed = folds.flatMap((one, at) => (one.open === unfoldedAtFirst[at] ? [] : [at]));
  if (changed.length) view.set("folds", changed.join("."));
  const state = String(view);
  if (state && place) view.set("at", place);
  history.replaceState(null, "", `#${state ? view : place}`);
}

function readView() {
  const fragment = location.hash.slice(1);
  if (!fragment.includes("=")) {
    place = fragment;  // of an ordinary link, which keeps the rest
    if (fragment) writeView();
    return;
  }
  const view = new URLSearchParams(fragment);
  for (const order of ["ascending", "descending"]) {
    const heading = table.tHead.rows[0].cells[Number(view.get(order) ?? NaN)];
    if (heading) sortBy(heading, order === "descending");
  }
  words.value = view.get("filter") ?? "";
  filter();
  const changed = new Set((view.get("folds") ?? "").split("."));
  folds.forEach((one, at) => (one.open = unfoldedAtFirst[at] !== changed.has(String(at))));
  place = view.get("at") ?? "";
  document.getElementById(place)?.scrollIntoView();
}

// Browsers refuse an address that changes with each key: it changes once nothing moves.
function viewChanged() {
  clearTimeout(waiting);
  waiting = setTimeout(writeView, 300);
}

table.tHead.addEventListener("click", viewChanged);
words.addEventListener("input", viewChanged);
document.addEventListener("toggle", viewChanged, true); // of a fold; it does not bubble
addEventListener("hashchange", readView);
readView();
