/** The browser's title: the state first, as tabs are narrow. */

import { nameOf, verdictOf } from "./streams.js";

const SIGNS = { drift: "◆", warning: "▲", failed: "✕", unwatched: "□" };

/**
 * "◆ drift: demo · Harbour", "clean · Harbour"
 * @param {import("./streams.js").StreamSummary[]} states
 * @param {string} name of the experiment
 */
export function titleOf(states, name) {
  const state = states.length ? `${stateOf(states)} · ` : "";
  return `${state}${name} · Lenswatch`;
}

function stateOf(states) {
  for (const [verdict, sign] of Object.entries(SIGNS)) {
    const found = states.filter((state) => verdictOf(state) === verdict);
    if (found.length > 2) return `${sign} ${verdict} in ${found.length} streams`;
    if (found.length) return `${sign} ${verdict}: ${found.map((s) => nameOf(s.stream)).join(", ")}`;
  }
  return "clean";
}
