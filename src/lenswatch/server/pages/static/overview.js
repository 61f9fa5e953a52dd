/** The list of experiments, and the state of each. */

import { Api } from "./api.js";
import { byId, h, put, shape } from "./dom.js";
import { ago, counted, parseTime } from "./format.js";
import { report } from "./notice.js";
import { showPager } from "./pager.js";
import { byUrgency, nameOf, sentence, stateOf, verdictOf } from "./streams.js";
import { wireCopyButton } from "./welcome.js";

const REFRESH_MS = 2000; // from the end of one look to the next
const REFRESH_HIDDEN_MS = 10_000; // of a hidden page only the title is seen
const STREAMS_SHOWN = 4;

const { base, loggedIn } = document.body.dataset;
const api = new Api(base);
const cards = new Map(); // experiment id -> its list item
let page = 1;
let looks = 0; // begun so far
let looking = false;
let timer = 0;

/** Look now, and again a while after that has ended; a look that is still on no longer counts. */
async function refresh() {
  clearTimeout(timer);
  looks += 1;
  const mine = looks;
  const current = () => mine === looks;
  let problem = null;
  looking = true;
  try {
    await look(current);
  } catch (error) {
    problem = error;
  }
  if (!current()) return;
  looking = false;
  report(problem);
  if (problem) byId("loading").hidden = true;
  timer = setTimeout(refresh, document.hidden ? REFRESH_HIDDEN_MS : REFRESH_MS);
}

async function look(current) {
  if (loggedIn !== undefined) await api.whoAmI();
  const { rows, pagination } = await api.experiments(page);
  if (!current()) return;
  if (isTheOnlyOne(pagination)) {
    looks += 1; // and none after this one: the page is being left
    location.replace(addressOf(rows[0]));
    return;
  }
  show(rows, pagination);
  const verdicts = await Promise.all(rows.map(showState));
  if (!current()) return;
  document.title = titleOf(verdicts.filter((verdict) => verdict === "drift").length);
}

/** `?all` shows the list whatever is in it. */
function isTheOnlyOne(pagination) {
  return pagination.total === 1 && !new URLSearchParams(location.search).has("all");
}

function show(rows, pagination) {
  byId("loading").hidden = true;
  byId("welcome").hidden = rows.length > 0;
  const items = rows.map((experiment) => cards.get(experiment.id) ?? newCard(experiment));
  if (items.some((item, i) => byId("experiments").children[i] !== item)) {
    put(byId("experiments"), ...items);
  }
  showPager(byId("pager"), pagination, turn, { newer: "Newer", older: "Older" });
}

function turn(target) {
  page = target;
  refresh();
}

function newCard(experiment) {
  const item = h(
    "li",
    { class: "card" },
    h("h2", {}, h("a", { href: addressOf(experiment) }, experiment.name)),
    experiment.description && h("p", { class: "quiet" }, experiment.description),
    h("ul", { class: "states" }),
    h("p", { class: "quiet last" }),
  );
  cards.set(experiment.id, item);
  return item;
}

/** @returns {Promise<string>} the most urgent verdict among its streams */
async function showState(experiment) {
  const entries = await api.experiment(experiment.id).streams();
  const states = entries.map(stateOf).sort(byUrgency);
  const item = cards.get(experiment.id);
  put(item.querySelector(".states"), ...states.slice(0, STREAMS_SHOWN).map(line));
  const left = states.length - STREAMS_SHOWN;
  const more = left > 0 ? `${counted(left, "more stream")}; ` : "";
  item.querySelector(".last").textContent = more + activity(states);
  return states.length ? verdictOf(states[0]) : "";
}

function titleOf(drifting) {
  if (drifting === 0) return "Experiments · Lenswatch";
  return `◆ drift in ${counted(drifting, "experiment")} · Lenswatch`;
}

function line(state) {
  const words = [h("strong", {}, nameOf(state.stream)), `: ${sentence(state)}`];
  return h("li", {}, shape(verdictOf(state)), h("span", {}, ...words));
}

function activity(states) {
  const total = states.reduce((sum, state) => sum + state.total, 0);
  const times = states.map((state) => parseTime(state.last?.created_at)).filter(Boolean);
  if (times.length === 0) return "No drift job yet.";
  return `${counted(total, "job")}, last ${ago(new Date(Math.max(...times)))}`;
}

function addressOf(experiment) {
  return `${base}/experiment/${encodeURIComponent(experiment.id)}`;
}

wireCopyButton();
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !looking) refresh();
});
refresh();
