/** The page of a camera: the chart, and the parts that follow its range. The server renders all the rest. */

import { Chart } from "./chart.js";
import { startPage } from "./page.js";
import { watchPulse } from "./pulse.js";
import { go, onSwap } from "./swap.js";

const { base, live, experiment } = document.body.dataset;
const TABLE_ONLY = ["job", "before", "status", "drift", "tag", "map"]; // what does not change the chart

oldLink();
startPage();
const plot = document.getElementById("plot");
if (plot) start(new Chart(plot, { onPick: pick, onZoom: zoom }));
watchPulse(`${base}/${live}`);

function start(chart) {
  let drawn = null;
  const draw = (renewed) => {
    const wanted = new URL(location.href).searchParams;
    for (const name of TABLE_ONLY) wanted.delete(name);
    if (renewed || `${wanted}` !== drawn) chart.load(`${base}/experiment/${experiment}/chart?${wanted}`, `${wanted}`);
    drawn = `${wanted}`;
    chart.select(document.querySelector("#jobs tr[aria-current] a, #detail [data-copy]") ? chosen() : "");
    document.getElementById("unzoom").hidden = !new URL(location.href).searchParams.has("from");
  };
  draw();
  onSwap(() => draw(true));
  document.addEventListener("click", ({ target }) => {
    const format = target.closest("[data-picture]")?.dataset.picture;
    if (format) chart.save(format);
    const row = target.closest("#jobs tbody tr");
    if (row && !target.closest("a")) row.querySelector("a").click();
  });
  document.addEventListener("keydown", ({ key, target }) => {
    if (target.closest("input, select, textarea, dialog")) return;
    const name = { Escape: "follow", ArrowLeft: "older", ArrowRight: "newer" }[key];
    if (name) document.querySelector(`[data-${name}]`)?.click();
  });
}

function chosen() {
  return new URL(location.href).searchParams.get("job") ?? "";
}

function pick(job) {
  change({ job });
}

/** The range in the address is the zoom, so that a link shows it and Back undoes it. */
function zoom(from, to) {
  change({ from, to, range: null, before: null });
}

function change(values) {
  const address = new URL(location.href);
  for (const [name, value] of Object.entries(values)) {
    if (value === null) address.searchParams.delete(name);
    else address.searchParams.set(name, value);
  }
  go(address).catch(() => location.assign(address));
}

/** Addresses of earlier versions had the selection behind a #. */
function oldLink() {
  const old = new URLSearchParams(location.hash.slice(1));
  const names = ["stream", "job", "status", "drift", "tag", "from", "to"].filter((name) => old.has(name));
  if (names.length === 0) return;
  const address = new URL(location.pathname, location.href);
  for (const name of names) address.searchParams.set(name, old.get(name));
  location.replace(address);
}
