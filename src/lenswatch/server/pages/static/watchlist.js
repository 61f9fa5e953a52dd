/** The streams of one experiment and the points of the one on the chart, kept up to date. */

import { streamOf, timeOf } from "./record.js";
import { byUrgency, needsPoints, stateOf, withPoints, withRecord } from "./streams.js";
import { pointOf, pointsOf } from "./verdict.js";

const CHARTED = 2000; // points of the stream on the chart
const LOOKED_AT = 500; // points of another stream, to find since when its verdict holds
const AT_ONCE = 12; // other streams looked at

export class Watchlist {
  constructor(api) {
    this.api = api;
    this.states = new Map();
    this.stream = null; // the one on the chart
    this.points = [];
    this.arrived = new Set(); // ids of the jobs taken in since
    this.late = null;
  }

  /** Fetch everything; `wanted` is the stream to chart, else the one that most needs a look. */
  async load(wanted) {
    const late = []; // what arrives meanwhile may be missing from the answers
    this.late = late;
    const entries = await this.api.streams();
    const states = new Map(entries.map(stateOf).map((state) => [state.stream, state]));
    const stream = wanted ?? mostUrgent(states);
    const points = await this.#look(states, stream);
    if (this.late !== late) return; // a later call has taken over
    Object.assign(this, { states, stream, points, arrived: new Set(), late: null });
    for (const record of late) this.apply(record);
  }

  /** Fetch the points of `stream`, and those that finish the sentences of others. */
  async #look(states, stream) {
    const others = [...states.values()].filter((state) => state.stream !== stream && needsPoints(state));
    const [points] = await Promise.all([
      stream === null ? [] : this.#fetch(stream, CHARTED),
      ...others.slice(0, AT_ONCE).map(async (state) => {
        const found = withPoints(state, await this.#fetch(state.stream, LOOKED_AT));
        states.set(state.stream, await this.#recall(found));
      }),
    ]);
    if (states.has(stream)) states.set(stream, await this.#recall(withPoints(states.get(stream), points)));
    return points;
  }

  /** Take in one job that came or changed. */
  apply(record) {
    this.late?.push(record);
    const stream = streamOf(record);
    const state = this.states.get(stream) ?? stateOf({ stream, total: 0, failed: 0, last: null });
    this.states.set(stream, withRecord(state, record, this.#isNew(record, state)));
    this.arrived.add(record.id);
    this.stream ??= stream;
    if (stream === this.stream) this.points = insert(this.points, pointOf(record)).slice(-CHARTED);
  }

  /** The newest job of the charted stream. */
  get newest() {
    return this.states.get(this.stream)?.last ?? null;
  }

  /** The point `steps` after that job in the charted stream. */
  beside(id, steps) {
    const at = this.points.findIndex((point) => point.id === id);
    return at < 0 ? null : this.points[at + steps] ?? null;
  }

  #isNew({ id }, state) {
    return !this.arrived.has(id) && state.last?.id !== id
      && !this.points.some((point) => point.id === id);
  }

  /** Add the record of the newest verdict if later jobs failed: its causes are part of the sentence. */
  async #recall(state) {
    if (!state.judged || state.record) return state;
    const record = await this.api.job(state.judged.id).catch(() => null); // it may just have been deleted
    return { ...state, record };
  }

  async #fetch(stream, limit) {
    return pointsOf(await this.api.series(stream, limit));
  }
}

function mostUrgent(states) {
  const ranked = [...states.values()].sort((a, b) => byUrgency(a, b) || lastTime(b) - lastTime(a));
  return ranked[0]?.stream ?? null;
}

function lastTime(state) {
  return state.last ? timeOf(state.last).getTime() : 0;
}

/** A new list with the point in its place in time, instead of an earlier one of the same job. */
function insert(points, point) {
  const others = points.filter((other) => other.id !== point.id);
  let at = others.length;
  while (at > 0 && others[at - 1].time > point.time) at -= 1;
  return [...others.slice(0, at), point, ...others.slice(at)];
}
