/** A drift record as the server sends it, and its place in time. Nothing here touches the page. */

import { parseTime } from "./format.js";

// As in lenswatch.wire: no picture is older, and clocks may differ by this much.
const EARLIEST_CAPTURE = Date.parse("2010-01-01T00:00:00Z");
const CLOCK_ERROR_MS = 5 * 60 * 1000;

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

/** The time at which the picture was taken, else that at which its job arrived. */
export function timeOf(record) {
  return takenAt(record) ?? parseTime(record.created_at) ?? new Date(0);
}

/** The time at which the picture was taken; null where none is told that can be right. */
function takenAt(record) {
  const taken = parseTime(parametersOf(record).captured_at);
  const arrived = parseTime(record.created_at);
  const possible = taken >= EARLIEST_CAPTURE && arrived && taken - arrived <= CLOCK_ERROR_MS;
  return taken && possible ? taken : null;
}

/**
 * True for a job that is older than the last one of its stream that was not late, and so does not make
 * the stream's state. The node says so; for other clients' jobs it is worked out as the server does.
 */
export function isLate(record, last) {
  const { late } = parametersOf(record);
  if (typeof late === "boolean") return late;
  const [taken, newest] = [takenAt(record), last && takenAt(last)];
  return Boolean(taken && newest) && taken < newest;
}
