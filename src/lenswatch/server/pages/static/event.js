/** The page of one event: the slider between clean and now, and stepping through pictures. */

import { startPage } from "./page.js";
import { watchPulse } from "./pulse.js";
import { onSwap } from "./swap.js";

const PAGE_STEP = 10; // percent, with the Page keys

let cut = 50;

startPage();
slide();
onSwap(slide);
step();
const { base, live } = document.body.dataset;
watchPulse(`${base}/${live}`);

/** Lay the clean picture over the other one, as far as the slider says; without this script they stand side by side. */
function slide() {
  const node = document.querySelector("[data-compare]:not(.side)");
  if (!node || node.classList.contains("sliding")) return;
  const range = Object.assign(document.createElement("input"), { id: "cut", type: "range", min: 0, max: 100, value: cut });
  range.setAttribute("aria-label", "How much of the clean picture is shown over the other one, in percent");
  range.addEventListener("input", () => show(node, range));
  range.addEventListener("keydown", (event) => {
    const by = { PageUp: PAGE_STEP, PageDown: -PAGE_STEP }[event.key];
    if (!by) return;
    event.preventDefault();
    range.value = Number(range.value) + by;
    show(node, range);
  });
  node.classList.add("sliding");
  node.append(range);
  show(node, range);
}

function show(node, range) {
  cut = Number(range.value);
  node.style.setProperty("--cut", `${cut}%`);
}

/** Arrow keys go to the picture before or after, unless something else uses them. */
function step() {
  document.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.target.closest("input, select, textarea") || event.altKey || event.ctrlKey || event.metaKey) return;
    const film = [...document.querySelectorAll("[data-film]")];
    const links = film.length ? film : [...document.querySelectorAll("[data-step]")];
    const at = links.findIndex((link) => link.hasAttribute("aria-current"));
    const next = links[at < 0 ? (by > 0 ? 0 : links.length - 1) : at + by];
    if (!next) return;
    event.preventDefault();
    links[at]?.removeAttribute("aria-current"); // the next key counts from here, though the page is on its way
    next.setAttribute("aria-current", "true");
    next.click();
  });
}
