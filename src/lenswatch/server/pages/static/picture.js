/** The picture of a job, with the map of its deviations laid over it. */

import { h, put } from "./dom.js";
import { isNumber, number, parseTime } from "./format.js";
import { parametersOf, streamOf } from "./record.js";

const RETRIES = [700, 1500, 3000]; // milliseconds: a picture follows its job shortly after
const FRESH = 15_000;
const NOTABLE = 2; // standardised deviations from which a cell shows its number
const STRONGEST = 8; // deviations: the full colour

/**
 * A figure that shows the job's picture, or says why it cannot.
 * @param {Object} record
 * @param {Object} api of the experiment
 * @returns {{figure: HTMLElement, light: (cells: number[][]) => void}}
 */
export function pictureOf(record, api) {
  const map = deviationMap(parametersOf(record).deviations);
  const frame = h("div", { class: "frame" });
  const name = parametersOf(record).image_name;
  const caption = h("figcaption", { class: "quiet" }, typeof name === "string" ? name : "");
  const figure = h("figure", { class: "picture" }, frame, caption);
  if (map) caption.append(toggle(map));
  put(frame, h("p", { class: "absent quiet" }, "Loading the picture…"));
  load(frame, map, record, api);
  return { figure, light: (cells) => light(map, cells) };
}

async function load(frame, map, record, api, tries = 0) {
  const there = await api.hasImage(record, streamOf(record)).catch(() => false);
  const shed = parametersOf(record).picture_shed === true;
  const failed = record.job_status === "Failed"; // most often there was no picture to keep
  const age = Date.now() - (parseTime(record.created_at) ?? 0);
  if (there) show(frame, map, api.imageUrl(record.id));
  else if (age >= FRESH || tries >= RETRIES.length || failed || shed) miss(frame, map);
  else setTimeout(() => frame.isConnected && load(frame, map, record, api, tries + 1), RETRIES[tries]);
}

function show(frame, map, url) {
  const image = h("img", { alt: "The picture of this job", src: url });
  image.addEventListener("load", () => put(frame, image, map));
  image.addEventListener("error", () => miss(frame, map));
}

function miss(frame, map) {
  put(frame, h("p", { class: "absent quiet" }, "No picture is stored for this job."), map);
}

function toggle(map) {
  const box = h("input", { type: "checkbox", checked: true });
  box.addEventListener("change", () => (map.hidden = !box.checked));
  return h("label", { class: "toggle" }, box, "show deviations");
}

function deviationMap(rows) {
  if (!isMatrix(rows)) return null;
  const map = h("div", { class: "map", role: "img", "aria-label": describe(rows) });
  map.style.setProperty("--columns", rows[0].length);
  map.style.setProperty("--rows", rows.length);
  map.append(...rows.flatMap((row, r) => row.map((value, c) => cell(value, r, c))));
  return map;
}

function cell(value, row, column) {
  const strength = Math.min(1, Math.abs(value) / STRONGEST);
  const words = `row ${row + 1}, column ${column + 1}: ${number(value)}`;
  const text = Math.abs(value) >= NOTABLE ? value.toFixed(1).replace("-", "−") : "";
  const node = h("span", { title: words, dataset: { cell: `${row},${column}` } }, text);
  node.style.setProperty("--strength", strength.toFixed(2));
  return node;
}

function light(map, cells) {
  const wanted = new Set(cells.map(String));
  map?.querySelectorAll("span").forEach((node) => {
    node.classList.toggle("lit", wanted.has(node.dataset.cell));
  });
}

function describe(rows) {
  const flat = rows.flatMap((row, r) => row.map((value, c) => [Math.abs(value), r + 1, c + 1]));
  const [value, row, column] = flat.sort((a, b) => b[0] - a[0])[0];
  return `Map of deviations, strongest in row ${row}, column ${column}: ${number(value)}`;
}

function isMatrix(rows) {
  return Array.isArray(rows) && rows.length > 0 && rows.length <= 16
    && rows.every((row) => Array.isArray(row) && row.length > 0 && row.length <= 16
      && row.length === rows[0].length && row.every(isNumber));
}

/**
 * The place of these cells in the picture: ", upper right"; "" if they are all over it.
 * @param {number[][]} cells of row and column
 * @param {number[]} size rows and columns of the grid
 */
export function whereIn(cells, [rows, columns]) {
  const known = cells.filter((cell) => Array.isArray(cell) && cell.every(isNumber));
  if (known.length === 0 || known.length > (rows * columns) / 2) return "";
  const third = (axis, size, words) => {
    const middle = known.reduce((sum, cell) => sum + cell[axis] + 0.5, 0) / known.length / size;
    return words[Math.min(2, Math.max(0, Math.floor(middle * 3)))];
  };
  const place = [third(0, rows, ["upper", "", "lower"]), third(1, columns, ["left", "", "right"])];
  return `, ${place.filter(Boolean).join(" ") || "middle"}`;
}
