/** The streams of an experiment, and a sentence on the state of each. */

import { arrange, h, put, shape } from "./dom.js";
import { ago, counted, number, parseTime, shortTime } from "./format.js";
import { isLate, parametersOf } from "./record.js";
import {
  byArrival, calibrationNotes, causeNames, deciding, isCollecting, pointOf, STATISTICS,
} from "./verdict.js";

/**
 * @typedef {Object} StreamSummary
 * @property {string} stream
 * @property {number} total
 * @property {number} failed
 * @property {Object|null} last the last job to arrive that was not late, a drift record
 * @property {import("./verdict.js").Point|null} judged the last such point with a verdict on a picture
 * @property {Object|null} record the drift record of that point, where it is known
 * @property {Date|null} since when that verdict began
 * @property {boolean} earlier true if it began before the oldest point at hand
 */

const CAUSES_NAMED = 2;
const JUDGED = new Set(["clean", "warning", "drift", "unwatched"]);

/** The state that one entry of the streams reply tells. @returns {StreamSummary} */
export function stateOf({ stream, total, failed, last }) {
  const point = last ? pointOf(last) : null;
  const judged = point && JUDGED.has(point.verdict) ? point : null;
  const record = judged && last;
  return { stream: stream ?? "", total, failed, last, judged, record, since: null, earlier: false };
}

/** True if the sentence needs the points of the stream. */
export function needsPoints(state) {
  return state.last !== null && state.judged?.verdict !== "clean";
}

/** Look through a stream's points for when its present verdict began. */
export function withPoints(state, points) {
  const judged = byArrival(points.filter((point) => JUDGED.has(point.verdict) && !point.late));
  const newest = judged.at(-1) ?? null;
  let first = judged.length;
  while (first > 0 && judged[first - 1].verdict === newest?.verdict) first -= 1;
  const earlier = first === 0 && points.length < state.total;
  const record = state.record?.id === newest?.id ? state.record : null;
  return { ...state, judged: newest, record, since: judged[first]?.time ?? null, earlier };
}

/** The state after one more job. */
export function withRecord(state, record, isNew) {
  const point = pointOf(record);
  const next = { ...state, total: state.total + (isNew ? 1 : 0) };
  if (isNew && point.verdict === "failed") next.failed += 1;
  if (isLate(record, state.last)) return next;
  if (!state.last || point.arrived >= state.last.created_at) next.last = record;
  const earlier = state.judged && point.arrived < state.judged.arrived;
  if (!JUDGED.has(point.verdict) || earlier) return next;
  const changed = state.judged?.verdict !== point.verdict;
  return { ...next, judged: point, record, ...(changed && { since: point.time, earlier: false }) };
}

/** The verdict a stream stands at; "failed" where no picture has been judged. */
export function verdictOf(state) {
  return state.judged?.verdict ?? (state.last ? pointOf(state.last).verdict : "clean");
}

/** "drift since 10:42, lens score 3.1, threshold 1.4: partly covered, blurred" */
export function sentence(state, now = new Date()) {
  const { judged, since, earlier, last } = state;
  if (!judged) return unjudged(state);
  const began = since ? ` since ${earlier ? "before " : ""}${shortTime(since, now)}` : "";
  const verdict = judged.verdict === "clean" ? "clean" : judged.verdict + began;
  const p = parametersOf(state.record ?? {});
  if (judged.verdict === "unwatched") return unwatched(p, began, last);
  const causes = judged.verdict === "clean" ? [] : causeNames(p).slice(0, CAUSES_NAMED);
  const decided = [verdict, figures(judged, p, causes)].filter(Boolean).join(", ");
  const blind = p.can_alarm === false ? "; nothing can alarm" : "";
  const failed = pointOf(last).verdict === "failed" ? "; the last picture failed" : "";
  return [decided, causes.join(", ")].filter(Boolean).join(": ") + blind + failed;
}

/** "collecting clean pictures; nothing can alarm since 10:42" */
function unwatched(p, began, last) {
  const alarm = p.alarm === true && "the alarm from before stays on";
  const failed = pointOf(last).verdict === "failed" && "the last picture failed";
  const words = [isCollecting(p) && "collecting clean pictures", `nothing can alarm${began}`, alarm, failed];
  return words.filter(Boolean).join("; ");
}

/** The values that decided, each with its threshold; "" where only the causes tell. */
function figures(judged, p, causes) {
  const decided = deciding(judged);
  if (decided.length === 0 && causes.length > 0) return "";
  const provisional = p.calibrated === false ? " (provisional)" : "";
  const told = decided.length > 0 ? decided : STATISTICS.slice(0, 1);
  return told.map((statistic) => {
    const value = judged[statistic.value];
    const threshold = judged[judged.verdict === "warning" ? statistic.warning : statistic.drift];
    return [
      value !== null && `${statistic.name} ${number(value)}`,
      threshold !== null && `threshold ${number(threshold)}${provisional}`,
    ].filter(Boolean).join(", ");
  }).join("; ");
}

function unjudged({ last, total, failed }) {
  if (!last || pointOf(last).verdict !== "failed") return "no verdict yet";
  return failed >= total ? "every picture so far failed" : "the last picture failed";
}

const URGENCY = ["drift", "warning", "failed", "unwatched"];

/** True while an alarm is raised, whatever the last picture was. */
function inAlarm({ record, last }) {
  return parametersOf(record ?? last ?? {}).alarm === true;
}

/** Streams in drift or alarm first, then by verdict and name. */
export function byUrgency(a, b) {
  const rank = (state) => (inAlarm(state) ? 0 : URGENCY.indexOf(verdictOf(state)));
  const order = (state) => (rank(state) < 0 ? URGENCY.length : rank(state));
  return order(a) - order(b) || a.stream.localeCompare(b.stream);
}

/** Draw the list; each stream is a button that selects it. */
export function showStreams(list, states, selected, onPick) {
  const items = new Map([...list.children].map((node) => [node.dataset.stream, node]));
  const nodes = [...states].sort(byUrgency).map((state) => {
    const node = items.get(state.stream) ?? newItem(state.stream, onPick);
    fillButton(node.firstChild, state, selected);
    return node;
  });
  arrange(list, nodes);
}

function newItem(stream, onPick) {
  const button = h("button", { type: "button", onclick: () => onPick(stream) });
  return h("li", { dataset: { stream } }, button);
}

function fillButton(button, state, selected) {
  const verdict = verdictOf(state);
  const arrived = parseTime(state.last?.created_at);
  const jobs = counted(state.total, "job");
  button.setAttribute("aria-pressed", String(state.stream === selected));
  put(
    button,
    shape(verdict),
    h("span", {}, h("strong", {}, nameOf(state.stream)), `: ${sentence(state)}`),
    ...notesOn(state).map((note) => h("span", { class: "quiet" }, note)),
    h("span", { class: "quiet" }, arrived ? `${jobs}, last ${ago(arrived)}` : jobs),
  );
}

/** The notes on the thresholds of the stream. */
function notesOn({ record }) {
  return record ? calibrationNotes(parametersOf(record)) : [];
}

/** The name of a stream on the page. */
export function nameOf(stream) {
  return stream || "(no stream)";
}
