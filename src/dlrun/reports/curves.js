// Shows the values of a chart's curves at a step; without scripts only this is missing.
"use strict";

// A slider below each chart works with keyboard, finger and screen reader; the pointer moves it too.
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
  const marked = steps.indexOf(figure.dataset.mark);
  slider.value = marked < 0 ? slider.max : marked;
  slider.setAttribute("aria-label", `${step} of ${figure.querySelector("figcaption").textContent}`);
  const at = document.createElement("span");
  at.className = "at";
  svg.after(slider, at);

  function show() {
    const x = steps[slider.value];
    // Lambdas differ by the seed, and runs end at different epochs: the nearest step of each.
    for (const line of lines) {
      const distances = [...line.at.keys()].map((step) => [Math.abs(place(step) - place(x)), step]);
      line.value.textContent = line.at.get(distances.sort((a, b) => a[0] - b[0])[0][1]);
    }
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

// A word above a table that is wider than its place.
const tables = new ResizeObserver((found) => {
  for (const { target } of found) {
    target.classList.toggle("scrolls", target.scrollWidth > target.clientWidth);
  }
});
document.querySelectorAll(".wide").forEach((one) => tables.observe(one));
