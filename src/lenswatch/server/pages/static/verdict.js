/** A drift job as the page shows it. Nothing here touches the page. */

import { isNumber, number, parseTime, utcTime } from "./format.js";
import { missingJobs } from "./missing.js";
import { parametersOf, timeOf } from "./record.js";

/**
 * @typedef {Object} Point One job as the chart draws it.
 * @property {string} id
 * @property {Date} time when the picture was taken, else when its job arrived
 * @property {string} arrived when its job arrived, as text to compare
 * @property {boolean} late true if it is older than one that its stream already had
 * @property {"clean"|"warning"|"drift"|"unwatched"|"failed"|"running"} verdict unwatched: the stream
 *   cannot alarm at present, so that nothing says it is clean
 * @property {number|null} distance
 * @property {number|null} driftDistance
 * @property {number|null} warningDistance
 * @property {number|null} score the lens chart's
 * @property {number|null} driftScore
 * @property {number|null} warningScore
 * @property {number} missing jobs before it that the node gave up for want of space
 * @property {boolean} pictureShed true if its picture was given up
 */

/** The statistics that can decide, and the fields of a point with their values and thresholds. */
export const STATISTICS = [
  { name: "distance", value: "distance", drift: "driftDistance", warning: "warningDistance" },
  { name: "lens score", value: "score", drift: "driftScore", warning: "warningScore" },
];

// The parameters that a series reply has as columns.
const SERIES = [
  "captured_at", "warning", "can_alarm", "distance", "drift_distance", "warning_distance", "score",
  "drift_score", "warning_score", "shed", "picture_shed",
];

/** @returns {Point} */
export function pointOf(record) {
  return makePoint(record, parametersOf(record), parametersOf(record).late === true);
}

/** The points of a series reply, oldest first. @returns {Point[]} */
export function pointsOf(columns) {
  const points = columns.id.map((id, i) => {
    const parameters = Object.fromEntries(SERIES.map((name) => [name, columns[name][i]]));
    const [status, drift] = [columns.status[i], columns.drift[i]];
    const job = { id, created_at: columns.created_at[i], job_status: status, drift_detected: drift };
    return makePoint({ ...job, parameters }, parameters, columns.late[i]);
  });
  return points.sort((a, b) => a.time - b.time);
}

/** Points in the order in which their jobs arrived. */
export function byArrival(points) {
  return [...points].sort((a, b) => Number(a.arrived > b.arrived) - Number(a.arrived < b.arrived));
}

function makePoint(record, values, late) {
  const known = (value) => (isNumber(value) ? value : null);
  const point = {
    id: record.id,
    time: timeOf(record),
    arrived: record.created_at,
    late,
    distance: known(values.distance),
    driftDistance: known(values.drift_distance),
    warningDistance: known(values.warning_distance),
    score: known(values.score),
    driftScore: known(values.drift_score),
    warningScore: known(values.warning_score),
    missing: missingJobs(values.shed),
    pictureShed: values.picture_shed === true,
  };
  const verdict = judge(record.job_status, record.drift_detected, values, point);
  return { ...point, verdict };
}

function judge(status, drift, { warning, can_alarm: canAlarm }, point) {
  if (status === "Failed") return "failed";
  if (status === "Running") return "running";
  if (drift === true) return "drift";
  if (warning === true) return "warning";
  if (canAlarm === false) return "unwatched";
  const above = exceeds(point.distance, point.warningDistance);
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
    return [typeof p.error === "string" && p.error ? p.error : "The job failed without giving a reason."];
  }
  if (point.verdict === "running") return ["The job has started and has not finished yet."];
  if (point.verdict === "unwatched") return unwatched(p);
  const [distance, score] = STATISTICS.map((statistic) => comparison(point, statistic));
  const byScore = deciding(point)[0]?.value === "score";
  const reasons = byScore ? [score, distance] : [distance, score];
  return [
    noticed(point, p), ...reasons, windowSentence(p), alarmSentence(point, p), ...timeSentences(p),
    ...calibrationNotes(p),
  ].filter(Boolean);
}

/** Why a stream cannot alarm. */
function unwatched(p) {
  const alarm = p.alarm === true ? "The alarm from before stays on." : "";
  return ["No picture of this stream can be called drift at present.", alarm, ...calibrationNotes(p)]
    .filter(Boolean);
}

/** True while the node collects clean pictures of the stream. */
export function isCollecting({ collecting }) {
  return isNumber(collecting?.kept);
}

/** The statistics over the threshold of the job's verdict; none where something else decided. */
export function deciding(point) {
  if (point.verdict !== "drift" && point.verdict !== "warning") return [];
  return STATISTICS.filter((s) => exceeds(point[s.value], point[s[point.verdict]]));
}

/** The names of the causes, the strongest first. @returns {string[]} */
export function causeNames({ causes }) {
  if (!Array.isArray(causes)) return [];
  return causes.map((cause) => cause?.name).filter((name) => typeof name === "string" && name);
}

/** The node's notes on the thresholds: too little footage, out of reach. @returns {string[]} */
export function calibrationNotes({ calibrated, calibration_notes: notes, can_alarm: canAlarm }) {
  const found = Array.isArray(notes) ? notes.filter((note) => typeof note === "string" && note) : [];
  if (found.length > 0 || calibrated !== false || canAlarm === false) return found;
  return ["The thresholds are provisional: there was too little clean footage to calibrate them."];
}

function exceeds(value, threshold) {
  return value !== null && threshold !== null && value > threshold;
}

function comparison(point, { name, value, drift, warning }) {
  const [found, driftAt, warningAt] = [point[value], point[drift], point[warning]];
  if (found === null) return value === "distance" ? "There is no distance for this job." : "";
  const words = `${name[0].toUpperCase()}${name.slice(1)} ${number(found)}`;
  if (driftAt === null) return `${words}; the job has no drift threshold.`;
  if (found > driftAt) {
    const times = driftAt > 0 ? `, ${(found / driftAt).toFixed(1)} times as much` : "";
    return `${words} is above the drift threshold ${number(driftAt)}${times}.`;
  }
  if (warningAt === null) return `${words} is within the drift threshold ${number(driftAt)}.`;
  if (found > warningAt) {
    return `${words} is above the warning threshold ${number(warningAt)}`
      + ` and within the drift threshold ${number(driftAt)}.`;
  }
  return `${words} is within the warning threshold ${number(warningAt)}`
    + ` (drift from ${number(driftAt)}).`;
}

/** A warning that neither statistic gives: a slow change, or one seen at once. */
function noticed(point, p) {
  const names = causeNames(p);
  if (point.verdict !== "warning" || deciding(point).length > 0 || names.length === 0) return "";
  return `Look at the picture: ${names.join(", ")}.`;
}

function timeSentences({ late, camera_time: cameraTime }) {
  const shown = parseTime(cameraTime);
  return [
    late === true && "The picture came late: it was judged by itself, and the stream's state is not changed.",
    shown && `The camera's clock showed ${utcTime(shown)}; the time of arrival is used instead.`,
  ];
}

function alarmSentence({ verdict }, p) {
  if (p.alarm !== true || verdict === "drift") return "";
  return "The alarm stays on until a full window passes without a warning.";
}

function windowSentence(p) {
  const { filled, size } = p.window ?? {};
  if (!isNumber(filled) || !isNumber(size) || filled >= size) return "";
  return `The window holds ${filled} of ${size} pictures.`;
}

