/** The figure that the chart shows: plotly traces and layout for a list of points. */

import { localTime, number, utcTime } from "./format.js";

const SYMBOLS = {
  clean: "circle",
  warning: "triangle-up",
  drift: "diamond",
  failed: "x",
  running: "circle-open",
};
const SIZES = { clean: 5, warning: 9, drift: 9, failed: 9, running: 9 };
const IN_LANE = new Set(["failed", "running"]); // no distance: drawn below the axis

/** @typedef {import("./verdict.js").Point} Point */

/**
 * @param {Point[]} points
 * @param {string} selected id of the job to ring
 * @param {HTMLElement} node whose style gives the colours
 */
export function tracesFor(points, selected, node) {
  const ink = inks(node);
  return [
    path(points, ink.line),
    threshold(points, "warningDistance", ink.warning, "dash"),
    threshold(points, "driftDistance", ink.drift, "solid"),
    ...Object.keys(SYMBOLS).map((verdict) => markers(points, verdict, ink)),
    ring(points.filter((point) => point.id === selected), ink.text),
  ];
}

/** @param {Point[]} points */
export function layoutFor(points, node, zoomKey) {
  const ink = inks(node);
  const axis = { gridcolor: ink.grid, linecolor: ink.line, zerolinecolor: ink.line, tickcolor: ink.line };
  return {
    uirevision: zoomKey, // keeps the viewer's zoom while points arrive
    margin: { l: 48, r: 14, t: 12, b: 36 },
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
    yaxis: { ...axis, domain: [hasLane(points) ? 0.1 : 0, 1], nticks: 6, zeroline: true },
    yaxis2: { domain: [0, 0.07], range: [0, 1], fixedrange: true, visible: false },
    annotations: [
      label(points, "driftDistance", "drift", ink.drift, "bottom"),
      label(points, "warningDistance", "warning", ink.warning, "top"),
    ].filter(Boolean),
  };
}

function inks(node) {
  const style = getComputedStyle(node);
  const names = ["text", "quiet", "line", "grid", "surface", ...Object.keys(SYMBOLS)];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

const hasLane = (points) => points.some((point) => IN_LANE.has(point.verdict));

function path(points, color) {
  const shown = points.filter((point) => point.distance !== null);
  const pause = 30 * median(shown.slice(1).map((point, i) => point.time - shown[i].time));
  const x = [];
  const y = [];
  shown.forEach((point, i) => {
    if (i > 0 && point.time - shown[i - 1].time > pause) {
      x.push(axisTime(point.time));
      y.push(null); // no line across a pause
    }
    x.push(axisTime(point.time));
    y.push(point.distance);
  });
  return { x, y, mode: "lines", line: { color, width: 1 }, hoverinfo: "skip" };
}

function threshold(points, field, color, dash) {
  const known = points.filter((point) => point[field] !== null);
  return {
    x: known.map((point) => axisTime(point.time)),
    y: known.map((point) => point[field]),
    mode: "lines",
    line: { color, width: 1.5, dash, shape: "hv" },
    hoverinfo: "skip",
  };
}

function markers(points, verdict, ink) {
  const inLane = IN_LANE.has(verdict);
  const shown = points.filter((p) => p.verdict === verdict && (inLane || p.distance !== null));
  return {
    x: shown.map((point) => axisTime(point.time)),
    y: shown.map((point) => (inLane ? 0.5 : point.distance)),
    yaxis: inLane ? "y2" : "y",
    mode: "markers",
    cliponaxis: false,
    marker: {
      symbol: SYMBOLS[verdict],
      size: SIZES[verdict],
      color: ink[verdict],
      line: { color: ink.surface, width: verdict === "running" ? 2 : 0.5 },
    },
    customdata: shown.map((p) => [p.id, number(p.distance), localTime(p.time), utcTime(p.time)]),
    // Line breaks only: plotly styles other markup in a way that the page's policy forbids.
    hovertemplate: `${verdict}${inLane ? "" : ", distance %{customdata[1]}"}`
      + "<br>%{customdata[2]}<br>%{customdata[3]}<extra></extra>",
  };
}

function ring(points, color) {
  return {
    x: points.map((point) => axisTime(point.time)),
    y: points.map((point) => (IN_LANE.has(point.verdict) ? 0.5 : point.distance)),
    yaxis: points.some((point) => IN_LANE.has(point.verdict)) ? "y2" : "y",
    mode: "markers",
    cliponaxis: false,
    marker: { symbol: "circle-open", size: 17, color, line: { width: 2 } },
    hoverinfo: "skip",
  };
}

function label(points, field, name, color, yanchor) {
  const value = points.findLast((point) => point[field] !== null)?.[field];
  if (value === undefined) return null;
  const place = { xref: "paper", x: 0, xanchor: "left", xshift: 5, yref: "y", y: value, yanchor };
  return { ...place, text: `${name} ${number(value)}`, showarrow: false, font: { color, size: 11 } };
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? Math.max(sorted[sorted.length >> 1], 1) : Infinity;
}

/** plotly knows no zones: it is given the viewer's own clock. */
function axisTime(date) {
  return `${localTime(date)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}
