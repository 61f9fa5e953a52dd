/** The selection, kept in the address so that a link shows it. */

const KEYS = ["stream", "job", "page", "status", "drift", "in", "tag", "from", "to"];

/** @returns {Object<string, string>} */
export function readAddress() {
  const found = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(KEYS.map((key) => [key, found.get(key) ?? ""]));
}

/** The fragment that stands for a selection; empty values are left out. */
export function fragment(selection) {
  const kept = KEYS.filter((key) => selection[key]).map((key) => [key, selection[key]]);
  return kept.length ? `#${new URLSearchParams(kept)}` : "";
}

/** Put the selection into the address; as a step to go back from, or in place. */
export function writeAddress(selection, { step = false } = {}) {
  const target = fragment(selection) || location.pathname + location.search;
  if (fragment(selection) === location.hash) return;
  history[step ? "pushState" : "replaceState"](null, "", target);
}

/** The link to share. */
export function shareable(selection) {
  return new URL(fragment(selection) || "#", location.href).href;
}
