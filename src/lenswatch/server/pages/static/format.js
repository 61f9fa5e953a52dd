/** Times and numbers in words a person reads. */

import { h } from "./dom.js";

const two = (value) => String(value).padStart(2, "0");

const NO_OFFSET = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?$/;

/**
 * A point in time, or null where there is none that can be read. Without an offset it is UTC.
 * @param {unknown} value
 * @returns {Date|null}
 */
export function parseTime(value) {
  if (typeof value !== "string") return null;
  const date = new Date(NO_OFFSET.test(value) ? `${value.replace(" ", "T")}Z` : value);
  return Number.isNaN(date.getTime()) ? null : date;
}

/** "2026-06-01" in the viewer's zone. */
function localDay(date) {
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** "2026-06-01 10:42:05" in the viewer's zone. */
export function localTime(date) {
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${localDay(date)} ${clock}`;
}

/** "2026-06-01 08:42:05 UTC". */
export function utcTime(date) {
  return `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** "10:42" today, "2026-06-01 10:42" on another day. */
export function shortTime(date, now = new Date()) {
  const text = localTime(date).slice(0, 16);
  return localDay(date) === localDay(now) ? text.slice(11) : text;
}

/** "12 s ago"; times slightly ahead of this clock count as now. */
export function ago(date, now = new Date()) {
  const seconds = Math.max(0, Math.round((now - date) / 1000));
  if (seconds < 2) return "just now";
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}

/** A time element: local time, with UTC in its tooltip. */
export function timeElement(date, text = localTime(date)) {
  return h("time", { datetime: date.toISOString(), title: utcTime(date) }, text);
}

/** At most three significant digits and five decimals: 0.31, 0.274, −0.00042. */
export function number(value) {
  if (!isNumber(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-5) return value.toExponential(1).replace("-", "−");
  const decimals = Math.min(5, Math.max(0, 2 - Math.floor(Math.log10(size))));
  return String(Number(value.toFixed(decimals))).replace("-", "−");
}

/** So many decimals always, to stand in a column. */
export function aligned(value, decimals) {
  return isNumber(value) ? value.toFixed(decimals).replace("-", "−") : "–";
}

/** "1,204". */
export function count(value) {
  return Number(value).toLocaleString("en");
}

/** "1 job", "1,204 jobs". */
export function counted(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** True for a finite number. */
export function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}
