/** The page of one experiment: its selection, and updates when something changes. */

import { fragment, readAddress, shareable, writeAddress } from "./address.js";
import { Api } from "./api.js";
import { Chart } from "./chart.js";
import { Detail } from "./detail.js";
import { byId } from "./dom.js";
import { count } from "./format.js";
import { Jobs } from "./jobs.js";
import { watch } from "./live.js";
import { report } from "./notice.js";
import { streamOf } from "./record.js";
import { nameOf, showStreams } from "./streams.js";
import { titleOf } from "./title.js";
import { Watchlist } from "./watchlist.js";
import { wireCopyButton } from "./welcome.js";

const RETRY_MS = 3000; // until a server that did not answer is asked again
const TICK_MS = 5000; // for "12 s ago"

const { base, experiment } = document.body.dataset;
const api = new Api(base).experiment(experiment);
const watchlist = new Watchlist(api);
const chart = new Chart(byId("plot"), byId("unzoom"), (id) => pick(id));
const detail = new Detail(byId("detail"), {
  api,
  link: (id) => shareable({ ...selection, stream: watchlist.stream, job: id }),
  step: (id, steps) => pick(watchlist.beside(id, steps)?.id),
  follow: () => select({ job: "" }),
});
const jobs = new Jobs(api, {
  linkTo: ({ id }) => fragment({ ...selection, job: id }),
  onPick: (record) => pick(record.id, streamOf(record), record),
  onChange: (changes) => select(changes),
  onError: report,
});

let selection = readAddress();
let name = "";
let pinned = null; // the record of selection.job
let span = 0; // how many jobs the chart shows; 0 is all
let newest = ""; // what `ask` said when everything was last fetched

/** Change what is selected, in the address and on the page. */
async function select(changes, { step = false } = {}) {
  const before = selection;
  selection = { ...selection, ...changes };
  writeAddress(selection, { step });
  await follow(before);
}

/** Bring the page from an earlier selection to the present one. */
async function follow(before) {
  const listed = (s) => fragment({ ...s, job: "", stream: "" });
  if (listed(before) !== listed(selection)) jobs.show(selection, streamNames());
  if (selection.stream && selection.stream !== watchlist.stream) await load();
  if (selection.job !== (pinned?.id ?? "")) await pin();
  draw();
}

/** Open one job. */
function pick(id, stream = watchlist.stream, record = null) {
  if (!id) return;
  pinned = record ?? pinned;
  select({ job: id, stream }, { step: true }).then(() => {
    const { top, bottom } = byId("detail").getBoundingClientRect();
    if (top > innerHeight * 0.8 || bottom < 80) byId("detail").scrollIntoView({ block: "start" });
  });
}

async function pin() {
  try {
    pinned = selection.job ? await api.job(selection.job) : null;
  } catch (error) {
    pinned = null;
    detail.say(error.status === 404 ? "There is no such job; it may have been deleted." : error.message);
  }
}

async function load() {
  try {
    await watchlist.load(selection.stream || watchlist.stream);
    report(null);
  } catch (error) {
    report(error);
  }
}

/** Fetch everything anew. */
async function refresh() {
  newest = await ask().catch(() => "");
  await load();
  if (selection.job && !pinned) await pin();
  await jobs.show(selection, streamNames());
  draw();
}

function draw() {
  const { states, stream, points } = watchlist;
  const empty = states.size === 0;
  byId("welcome").hidden = !empty;
  byId("board").hidden = empty;
  document.title = titleOf([...states.values()], name);
  if (empty) return;
  drawStreams();
  byId("chart-stream").textContent = chartedWords(states.get(stream), points.length);
  chart.show({ stream: nameOf(stream), points, count: span, selected: selection.job });
  jobs.select(selection.job);
  const record = selection.job ? pinned : watchlist.newest;
  if (record) detail.show(record, placeOf(record));
  else if (!selection.job) detail.say("This stream has no job yet.");
}

/** "demo", and how much of it the chart has when that is not all. */
function chartedWords({ stream, total } = { stream: selection.stream, total: 0 }, charted) {
  const part = charted < total ? `, newest ${count(charted)} of ${count(total)} jobs` : "";
  return nameOf(stream) + part;
}

function drawStreams() {
  const choose = (stream) => select({ stream, in: stream, job: "", page: "" }, { step: true });
  showStreams(byId("streams"), watchlist.states.values(), watchlist.stream, choose);
}

function placeOf({ id }) {
  const [older, newer] = [-1, 1].map((steps) => watchlist.beside(id, steps) !== null);
  return { pinned: Boolean(selection.job), older, newer };
}

function streamNames() {
  return [...watchlist.states.keys()].sort();
}

/** One job came or changed. */
function arrived(record) {
  watchlist.apply(record);
  if (pinned?.id === record.id) pinned = record;
  jobs.arrived(streamNames);
  draw();
}

/** Ask whether something was missed, and if so fetch everything anew. */
async function catchUp() {
  const now = await ask().catch((error) => {
    report(error);
    throw error;
  });
  if (now !== newest || !byId("notice").hidden) await refresh();
}

/** The newest jobs of all streams, as text to compare. */
async function ask() {
  const { rows, pagination } = await api.search({}, 1);
  return JSON.stringify([rows, pagination.total]);
}

function showState(state) {
  byId("live").dataset.state = state;
  byId("live").textContent = state;
}

function chooseSpan(button) {
  span = Number(button.dataset.count);
  for (const other of button.parentNode.children) {
    other.setAttribute("aria-pressed", String(other === button));
  }
  draw();
}

async function start() {
  try {
    const record = await api.record();
    name = String(record.name);
    byId("name").textContent = name;
    byId("description").textContent = record.description ?? "";
    byId("description").hidden = !record.description;
  } catch (error) {
    report(error);
    byId("name").textContent = "Experiment";
    if (error.status < 400 || error.status >= 500) setTimeout(start, RETRY_MS);
    return;
  }
  await refresh();
  watch(api.liveUrl, { onRecord: arrived, catchUp, onState: showState });
  setInterval(drawStreams, TICK_MS);
}

wireCopyButton();
byId("spans").addEventListener("click", ({ target }) => target.dataset.count && chooseSpan(target));
window.addEventListener("popstate", () => {
  const before = selection;
  selection = readAddress();
  follow(before);
});
start();
