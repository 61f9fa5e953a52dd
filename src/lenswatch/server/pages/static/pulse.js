/** Keeps a page as it is on the server: asks often and in few bytes whether anything changed. */

import { refresh, Unreached } from "./swap.js";

const ASK_MS = 400;
const HIDDEN_MS = 10_000;
const AT_LEAST_MS = 20_000; // ages keep counting
const LOAD = 4; // a page that takes long is fetched seldom: this many times as long apart
const CLOSED = [401, 403, 404]; // 404 is what a private experiment answers to strangers

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
      say("reconnecting", error);
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
  if (!reply?.ok) throw new Unreached(reply?.status ?? 0);
  const { pulse, known: recognised } = await reply.json();
  if ("loggedIn" in document.body.dataset && !recognised) throw new Unreached(401);
  const news = known !== null && pulse !== known;
  const first = known === null && refreshed === 0;
  const again = known === null && !first;
  known = pulse;
  if (first) refreshed = Date.now();
  return news || again || (!first && Date.now() - refreshed > AT_LEAST_MS);
}

async function renew() {
  const begun = performance.now();
  await refresh();
  took = performance.now() - begun;
  refreshed = Date.now();
}

/** Say how the connection is, and why it is interrupted. */
function say(state, error = null) {
  const live = document.getElementById("live");
  const notice = document.getElementById("notice");
  if (live && live.dataset.state !== state) {
    const clock = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    live.textContent = state === "live" ? "live" : `reconnecting, as of ${clock}`;
    live.dataset.state = state;
  }
  if (!notice || notice.dataset.status === String(error?.status)) return;
  notice.dataset.status = String(error?.status);
  notice.textContent = error ? wordsOf(error) : "";
  const { login } = document.body.dataset; // only where there are accounts
  if (login && CLOSED.includes(error?.status)) {
    notice.append(" ", Object.assign(document.createElement("a"), { href: login, textContent: "Log in" }), " to see private experiments.");
  }
  notice.hidden = !error;
}

function wordsOf({ status, message }) {
  if (status === 401) return "You are no longer logged in.";
  if (CLOSED.includes(status)) return "What this page shows is private, or was deleted.";
  return `${message} Trying again…`;
}
