/** Keeps a page as it is on the server: asks often and in few bytes whether anything changed. */

import { refresh } from "./swap.js";

const ASK_MS = 800;
const HIDDEN_MS = 10_000;
const AT_LEAST_MS = 20_000; // ages keep counting
const LOAD = 4; // a page that takes long is fetched seldom: this many times as long apart

let known = null;
let refreshed = 0;
let took = 0;

/** Watch until the page goes. @param {string} address what tells whether anything changed */
export function watchPulse(address) {
  let timer = 0;

  async function ask() {
    try {
      if (await changed(address)) await renew();
      say("live");
    } catch (error) {
      say("reconnecting", error.message);
      known = null;
    }
    clearTimeout(timer);
    timer = setTimeout(ask, document.hidden ? HIDDEN_MS : Math.max(ASK_MS, LOAD * took));
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    clearTimeout(timer);
    ask();
  });
  ask();
}

async function changed(address) {
  const reply = await fetch(address, { signal: AbortSignal.timeout(10_000) }).catch(() => null);
  if (!reply) throw new Error("The server does not answer. Trying again…");
  if (reply.status === 401 || reply.status === 403) throw new Error("You are no longer logged in.");
  if (!reply.ok) throw new Error(`The server answered ${reply.status}. Trying again…`);
  const { pulse } = await reply.json();
  const news = known !== null && pulse !== known;
  const first = known === null && refreshed === 0;
  known = pulse;
  if (first) refreshed = Date.now();
  return news || (!first && Date.now() - refreshed > AT_LEAST_MS);
}

async function renew() {
  const begun = performance.now();
  await refresh();
  took = performance.now() - begun;
  refreshed = Date.now();
}

/** Say how the connection is, and why it is interrupted. */
export function say(state, problem = "") {
  const live = document.getElementById("live");
  const notice = document.getElementById("notice");
  if (live && live.dataset.state !== state) {
    const clock = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    live.textContent = state === "live" ? "live" : `reconnecting, as of ${clock}`;
    live.dataset.state = state;
  }
  if (notice && notice.textContent !== problem) notice.textContent = problem;
  if (notice) notice.hidden = !problem;
}
