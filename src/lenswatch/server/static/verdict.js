/** What a drift job says, read from its record. Nothing here touches the page. */

import { isNumber, number, parseTime } from "./format.js";

/**
 * @typedef {Object} Point One job as the chart draws it.
 * @property {string} id
 * @property {Date} time when the image was taken, else when its job arrived
 * @property {"clean"|"warning"|"drift"|"failed"|"running"} verdict
 * @property {number|null} distance
 * @property {number|null} driftDistance
 * @property {number|null} warningDistance
 */

export const WORDS = {
  clean: "clean",
  warning: "warning",
  drift: "drift",
  failed: "failed",
  running: "running",
};

/** The parameters of a record, whatever a client left there. */
export function parametersOf(record) {
  const found = record.parameters;
  return found && typeof found === "object" && !Array.isArray(found) ? found : {};
}

/** The stream of a record; "" where it names none. */
export function streamOf(record) {
  const found = parametersOf(record).stream;
  return typeof found === "string" ? found : "";
}

/** When the image was taken, else when its job arrived. */
export function timeOf(record) {
  return parseTime(parametersOf(record).captured_at) ?? parseTime(record.created_at) ?? new Date(0);
}

/** @returns {Point} */
export function pointOf(record) {
  const p = parametersOf(record);
  return makePoint(record.id, timeOf(record), record.job_status, record.drift_detected, p);
}

/** The points of a series reply, oldest first. @returns {Point[]} */
export function pointsOf(columns) {
  const points = columns.id.map((id, i) => {
    const time = parseTime(columns.captured_at[i]) ?? parseTime(columns.created_at[i]) ?? new Date(0);
    return makePoint(id, time, columns.status[i], columns.drift[i], {
      distance: columns.distance[i],
      drift_distance: columns.drift_distance[i],
      warning_distance: columns.warning_distance[i],
      warning: columns.warning?.[i],
    });
  });
  return points.sort((a, b) => a.time - b.time);
}

function makePoint(id, time, status, drift, values) {
  const point = {
    id,
    time,
    distance: isNumber(values.distance) ? values.distance : null,
    driftDistance: isNumber(values.drift_distance) ? values.drift_distance : null,
    warningDistance: isNumber(values.warning_distance) ? values.warning_distance : null,
  };
  return { ...point, verdict: judge(status, drift, values.warning, point) };
}

function judge(status, drift, warning, point) {
  if (status === "Failed") return "failed";
  if (status === "Running") return "running";
  if (drift === true) return "drift";
  if (warning === true) return "warning";
  const above = point.distance !== null && point.warningDistance !== null
    && point.distance > point.warningDistance;
  return above && typeof warning !== "boolean" ? "warning" : "clean";
}

/**
 * The verdict of one job in sentences.
 * @returns {string[]}
 */
export function explain(record) {
  const point = pointOf(record);
  const p = parametersOf(record);
  if (point.verdict === "failed") {
    return [typeof p.error === "string" && p.error ? p.error : "The job failed and left no reason."];
  }
  if (point.verdict === "running") return ["The job has begun and has not reported back yet."];
  const reasons = [comparison(point), scoreSentence(p)];
  if (decidedByScore(point, p)) reasons.reverse();
  return [...reasons, windowSentence(p), provisional(p)].filter(Boolean);
}

/** Whether the lens score says what the distance does not. */
export function decidedByScore({ verdict, distance, driftDistance, warningDistance }, p) {
  const [threshold, scoreThreshold] = verdict === "drift"
    ? [driftDistance, p.drift_score] : [warningDistance, p.warning_score];
  const byDistance = distance !== null && threshold !== null && distance > threshold;
  return verdict !== "clean" && !byDistance && isNumber(p.score) && p.score > scoreThreshold;
}

function comparison({ distance, driftDistance, warningDistance }) {
  if (distance === null) return "There is no distance for this job.";
  const is = `Distance ${number(distance)} is`;
  if (driftDistance === null) return `Distance ${number(distance)}; no threshold came with it.`;
  if (distance > driftDistance) {
    const times = driftDistance > 0 ? `, ${(distance / driftDistance).toFixed(1)} times as much` : "";
    return `${is} above the drift threshold ${number(driftDistance)}${times}.`;
  }
  if (warningDistance === null) return `${is} within the drift threshold ${number(driftDistance)}.`;
  if (distance > warningDistance) {
    return `${is} above the warning threshold ${number(warningDistance)}`
      + ` and within the drift threshold ${number(driftDistance)}.`;
  }
  return `${is} within the warning threshold ${number(warningDistance)}`
    + ` (drift from ${number(driftDistance)}).`;
}

function scoreSentence(p) {
  if (!isNumber(p.score) || !isNumber(p.drift_score)) return "";
  const side = p.score > p.drift_score ? "above" : "within";
  return `The lens score ${number(p.score)} is ${side} its drift threshold ${number(p.drift_score)}.`;
}

function windowSentence(p) {
  const { filled, size } = p.window ?? {};
  if (!isNumber(filled) || !isNumber(size) || filled >= size) return "";
  return `The window holds ${filled} of ${size} images.`;
}

function provisional(p) {
  return p.calibrated === false
    ? "The thresholds are provisional: there was too little clean footage to calibrate them."
    : "";
}
