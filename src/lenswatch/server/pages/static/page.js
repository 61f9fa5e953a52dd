/** What every page does beyond what the server rendered: tips, keys, the time zone, copying. */

import { wireKeys } from "./keys.js";
import { soften } from "./swap.js";
import { wireTips } from "./tips.js";
import { tellZone } from "./zone.js";

const DONE_MS = 10_000; // how long it says what an action did

/** Start what all pages share. */
export function startPage() {
  wireTips();
  wireKeys();
  soften();
  tellZone();
  forgetDone();
  document.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-copy]");
    if (button) copy(button);
  });
}

/** The line on what was done leaves the address at once, and the page after a while. */
function forgetDone() {
  const address = new URL(location.href);
  if (!address.searchParams.has("done")) return;
  for (const name of ["done", "about", "undo"]) address.searchParams.delete(name);
  history.replaceState(null, "", address);
  setTimeout(() => document.getElementById("done")?.remove(), DONE_MS);
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  const text = source ? source.textContent : location.href;
  const words = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = words), 1500);
  } catch {
    if (source) getSelection().selectAllChildren(source);
    else window.prompt("Copy this link:", text); // no clipboard without TLS
  }
}
