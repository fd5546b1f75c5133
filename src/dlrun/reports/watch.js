// Of `dlrun report --watch`: reloads the page when its file was replaced, and keeps the reader's place.
"use strict";
{
  const { content: version, dataset } = document.querySelector("meta[name=version]");
  const seconds = 2; // between two looks at the file
  const probe = "dlrun-probe";
  const places = "h1, h2, details.run > summary, #all-runs tbody th";

  // No script may read a file. So the page opens itself in a hidden frame, where it tells its version.
  if (window.name === probe) {
    window.parent.postMessage(version, "*");
    window.stop();
  } else {
    let frame;
    function look() {
      frame?.remove();
      frame = document.createElement("iframe");
      frame.hidden = true;
      frame.name = probe;
      frame.sandbox = "allow-scripts";
      frame.src = location.href.split("#")[0];
      document.body.append(frame);
    }
    if (dataset.watch === "goes on") setInterval(look, 1000 * seconds);
    window.addEventListener("message", ({ source, data }) => {
      const isReading = !getSelection().isCollapsed; // a reload would drop the selected text
      if (source === frame?.contentWindow && data !== version && !isReading) reload();
    });
    history.scrollRestoration = "manual";
    document.addEventListener("DOMContentLoaded", () => {
      if (history.state) restore(history.state);
      history.replaceState(null, "");
    });
  }

  // Runs are numbered anew when one begins: an element is known by its run's name and its own words.
  function nameOf(element) {
    const run = element.closest("details.run");
    const isOfRun = element.parentElement === run;
    const words = isOfRun ? "" : element.getAttribute("aria-label") ?? element.textContent.trim();
    return [run?.dataset.name, element.tagName, words].join("\n");
  }
  const all = (selector) => [...document.querySelectorAll(selector)];
  const find = (selector, name) => all(selector).find((element) => nameOf(element) === name);
  const top = (element) => element.getBoundingClientRect().top;

  // The nearest place to the upper edge. Pixels are rounded: without a scroll it stays, and does not drift.
  let place;
  function findPlace() {
    if (place?.y === scrollY) return place;
    const shown = all(places).filter((element) => element.getClientRects().length);
    shown.sort((a, b) => Math.abs(top(a)) - Math.abs(top(b)));
    return { name: nameOf(shown[0]), top: top(shown[0]), y: scrollY };
  }
  function scrollToPlace(wanted) {
    const element = find(places, wanted.name);
    scrollTo(0, element ? scrollY + top(element) - wanted.top : wanted.y);
    place = { ...wanted, y: scrollY };
  }

  function reload() {
    const sorted = document.querySelector("#all-runs [aria-sort]");
    const state = {
      words: words.value,
      sorted: sorted && { name: nameOf(sorted), order: sorted.getAttribute("aria-sort") },
      open: all("details[open] > summary").map(nameOf),
      folded: all("details:not([open]) > summary").map(nameOf),
      wide: all(".wide").map((element) => [nameOf(element), element.scrollLeft]),
      place: findPlace(),
      focus: nameOf(document.activeElement),
    };
    history.replaceState(state, "");
    location.reload();
  }

  function restore(state) {
    words.value = state.words;
    filter();
    const heading = state.sorted && find("#all-runs th", state.sorted.name);
    if (heading) sortBy(heading, state.sorted.order === "descending");
    for (const summary of all("summary")) {
      const name = nameOf(summary);
      if (state.open.includes(name)) summary.parentElement.open = true;
      if (state.folded.includes(name)) summary.parentElement.open = false;
    }
    for (const [name, left] of state.wide) find(".wide", name)?.scrollTo(left, 0);
    find("summary, button, input, a, .wide", state.focus)?.focus({ preventScroll: true });
    scrollToPlace(state.place);
    // Once more after the first frame, in which wide tables get a line above them.
    requestAnimationFrame(() => requestAnimationFrame(() => scrollToPlace(state.place)));
  }
}
