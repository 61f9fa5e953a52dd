/** The figure that the chart shows: plotly traces and layout for a list of points. */

import { localTime, number, utcTime } from "./format.js";
import { STATISTICS } from "./verdict.js";

const SYMBOLS = {
  clean: "circle", warning: "triangle-up", drift: "diamond",
  unwatched: "square-open", failed: "x", running: "circle-open",
};
const NARROW = 480; // pixels: below, a threshold is told by its number and colour alone
const SIZES = { clean: 5, warning: 9, drift: 9, unwatched: 7, failed: 9, running: 9 };
const LANE = { axis: "y2" }; // of points without a value: drawn below the axes

/** @typedef {import("./verdict.js").Point} Point */

/**
 * The panels of a stream, one above the other on one time axis: the distance, and the lens score
 * where there is one.
 * @param {Point[]} points
 */
export function panelsOf(points) {
  const [distance, score] = STATISTICS;
  const bottom = points.some(inLane) ? 0.1 : 0;
  if (points.every((point) => point.score === null)) {
    return [{ ...distance, axis: "y", domain: [bottom, 1] }];
  }
  return [
    { ...distance, axis: "y", domain: [0.56, 1], title: "Distance" },
    { ...score, axis: "y3", domain: [bottom * 0.7, 0.46], title: "Lens score" },
  ];
}

/**
 * @param {Point[]} points
 * @param {string} selected id of the job to ring
 * @param {HTMLElement} node whose style gives the colours
 */
export function tracesFor(points, selected, node) {
  const ink = inks(node);
  const chosen = points.filter((point) => point.id === selected);
  return [
    ...panelsOf(points).flatMap((panel) => [
      path(points, panel, ink.line),
      threshold(points, panel, panel.warning, ink.warning, "dash"),
      threshold(points, panel, panel.drift, ink.drift, "solid"),
      ...["clean", "warning", "drift", "unwatched"].map((verdict) => markers(points, panel, verdict, ink)),
      ring(chosen.filter((point) => !inLane(point)), panel, ink.text),
    ]),
    ...["unwatched", "failed", "running"].map((verdict) => (
      markers(points.filter(inLane), LANE, verdict, ink)
    )),
    ring(chosen.filter(inLane), LANE, ink.text),
  ];
}

/** @param {Point[]} points */
export function layoutFor(points, node, zoomKey) {
  const ink = inks(node);
  const panels = panelsOf(points);
  const narrow = node.clientWidth < NARROW;
  const axis = { gridcolor: ink.grid, linecolor: ink.line, zerolinecolor: ink.line, tickcolor: ink.line };
  const across = (panel) => ({
    ...axis,
    domain: panel.domain,
    nticks: 6,
    zeroline: true,
    showticklabels: points.some((point) => point[panel.value] !== null), // else they mean nothing
  });
  return {
    uirevision: zoomKey, // keeps the viewer's zoom while points arrive
    margin: { l: 48, r: 14, t: panels.length > 1 ? 24 : 12, b: 36 },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { family: getComputedStyle(node).fontFamily, size: 12, color: ink.quiet },
    showlegend: false,
    hovermode: "closest",
    hoverlabel: { bgcolor: ink.surface, bordercolor: ink.line, font: { color: ink.text }, align: "left" },
    // Dragging on a touch screen scrolls the page.
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    xaxis: {
      ...axis,
      type: "date",
      showgrid: false,
      showline: true,
      ticks: "outside",
      ticklen: 4,
      anchor: "free",
    },
    yaxis2: { domain: [0, 0.07], range: [0, 1], fixedrange: true, visible: false },
    ...Object.fromEntries(panels.map((panel) => [panel.axis.replace("y", "yaxis"), across(panel)])),
    annotations: panels.flatMap((panel) => [
      heading(panel, ink.text),
      label(points, panel, "drift", ink.drift, narrow),
      label(points, panel, "warning", ink.warning, narrow),
    ]).filter(Boolean),
  };
}

function inks(node) {
  const style = getComputedStyle(node);
  const names = ["text", "quiet", "line", "grid", "surface", ...Object.keys(SYMBOLS)];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function inLane(point) {
  const { verdict } = point;
  if (verdict === "failed" || verdict === "running") return true;
  return verdict === "unwatched" && STATISTICS.every(({ value }) => point[value] === null);
}

/** The position of a point in a panel; null without a value. */
function heightOf(point, { value }) {
  return value ? point[value] : 0.5;
}

function path(points, panel, color) {
  const shown = points.filter((point) => heightOf(point, panel) !== null);
  const pause = 30 * median(shown.slice(1).map((point, i) => point.time - shown[i].time));
  const x = [];
  const y = [];
  shown.forEach((point, i) => {
    if (i > 0 && point.time - shown[i - 1].time > pause) {
      x.push(axisTime(point.time));
      y.push(null); // no line across a pause
    }
    x.push(axisTime(point.time));
    y.push(heightOf(point, panel));
  });
  return { x, y, yaxis: panel.axis, mode: "lines", line: { color, width: 1 }, hoverinfo: "skip" };
}

function threshold(points, panel, field, color, dash) {
  const known = points.filter((point) => point[field] !== null);
  return {
    x: known.map((point) => axisTime(point.time)),
    y: known.map((point) => point[field]),
    yaxis: panel.axis,
    mode: "lines",
    line: { color, width: 1.5, dash, shape: "hv" },
    hoverinfo: "skip",
  };
}

function markers(points, panel, verdict, ink) {
  const shown = points.filter((p) => p.verdict === verdict && heightOf(p, panel) !== null);
  return {
    x: shown.map((point) => axisTime(point.time)),
    y: shown.map((point) => heightOf(point, panel)),
    yaxis: panel.axis,
    mode: "markers",
    cliponaxis: false,
    marker: {
      symbol: SYMBOLS[verdict],
      size: SIZES[verdict],
      color: ink[verdict],
      line: { color: ink.surface, width: verdict === "running" || verdict === "unwatched" ? 2 : 0.5 },
    },
    customdata: shown.map((p) => [p.id, number(p[panel.value]), localTime(p.time), utcTime(p.time)]),
    // Line breaks only: plotly styles other markup in a way that the page's policy forbids.
    hovertemplate: `${verdict}${panel.value ? `, ${panel.name} %{customdata[1]}` : ""}`
      + "<br>%{customdata[2]}<br>%{customdata[3]}<extra></extra>",
  };
}

function ring(points, panel, color) {
  return {
    x: points.map((point) => axisTime(point.time)),
    y: points.map((point) => heightOf(point, panel)),
    yaxis: panel.axis,
    mode: "markers",
    cliponaxis: false,
    marker: { symbol: "circle-open", size: 17, color, line: { width: 2 } },
    hoverinfo: "skip",
  };
}

function heading({ title, domain }, color) {
  if (!title) return null;
  const place = { xref: "paper", x: 0, xanchor: "left", yref: "paper", y: domain[1], yanchor: "bottom" };
  return { ...place, text: title, showarrow: false, font: { color, size: 12 } };
}

function label(points, panel, name, color, narrow) {
  const value = points.findLast((point) => point[panel[name]] !== null)?.[panel[name]];
  if (value === undefined) return null;
  const yanchor = name === "drift" ? "bottom" : "top"; // outside the two lines
  const place = { xref: "paper", x: 0, xanchor: "left", xshift: 5, yref: panel.axis, y: value, yanchor };
  return { ...place, text: `${narrow ? "" : `${name} `}${number(value)}`, showarrow: false, font: { color, size: 11 } };
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? Math.max(sorted[sorted.length >> 1], 1) : Infinity;
}

/** plotly knows no zones: it is given the viewer's own clock. */
function axisTime(date) {
  return `${localTime(date)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}
