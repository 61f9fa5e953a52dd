/** The figure of a chart: plotly traces and layout for what the server sent. */

const SYMBOLS = {
  clean: "circle", warning: "triangle-up", drift: "diamond",
  frozen: "hourglass", unwatched: "square-open", failed: "x", running: "circle-open",
};
const SIZES = { clean: 5, warning: 9, drift: 9, frozen: 9, unwatched: 7, failed: 9, running: 9 };
const OPEN = new Set(["unwatched", "running"]);
const LANE = "y9"; // of points without a value: drawn below the axes
const LANE_HEIGHT = 0.06;
const GAP = 0.1; // between two panels
const ALONE_MS = 60_000; // on both sides of a single moment
const LABEL = 0.07; // height of a label, as a part of the whole chart
const LETTER_PX = 6; // mean width in a label
const PAUSE = 30; // median gaps: no line across a longer pause

/** @returns {Object[]} */
export function tracesOf(data, selected, node) {
  const ink = inks(node);
  const traces = data.panels.flatMap((panel, i) => panelTraces(data, panel, axisOf(i), selected, ink));
  return [...traces, ...verdicts(data.lane.verdict).map((v) => markers(only(data.lane, v), v, LANE, v, ink))];
}

function panelTraces(data, panel, axis, selected, ink) {
  const { points } = panel;
  const bars = data.kind === "bars";
  return [
    panel.other && (joined(data) ? dotted(panel.other.points, axis, ink) : open(panel.other.points, axis, ink)),
    bars ? bar(points, axis, ink) : joined(data) && line(points, axis, data.kind === "line" ? ink.clean : ink.line, data.x.time),
    threshold(panel.warning, axis, ink.warning, "dash"),
    threshold(panel.drift, axis, ink.drift, "solid"),
    panel.trend && { ...plain(panel.trend.x, panel.trend.y, axis), line: { color: ink.text, width: 1.5, dash: "dashdot" } },
    ...(data.kind === "points" ? verdicts(points.verdict) : []).map((v) => markers(only(points, v), `${v}, ${panel.name}`, axis, v, ink)),
    ring(points, selected, axis, ink),
  ].filter(Boolean);
}

/** @returns {Object} */
export function layoutOf(data, node, key) {
  const ink = inks(node);
  const style = getComputedStyle(node);
  const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
  const [gutter, end] = ["--gutter", "--end"].map((name) => Number.parseFloat(style.getPropertyValue(name)) * rem);
  const shared = { gridcolor: ink.grid, linecolor: ink.line, zerolinecolor: ink.line, tickcolor: ink.line };
  const yaxes = data.panels.map((panel, i) => [
    axisOf(i).replace("y", "yaxis"),
    { ...shared, domain: domain(data, i), nticks: 6, zeroline: true, type: panel.log ? "log" : "linear", fixedrange: true },
  ]);
  return {
    uirevision: key,
    margin: { l: gutter, r: end, t: 24, b: 36 },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { family: style.fontFamily, size: 12, color: ink.quiet },
    showlegend: false,
    barmode: "overlay",
    hovermode: "closest",
    hoverlabel: { bgcolor: ink.surface, bordercolor: ink.line, font: { color: ink.text }, align: "left" },
    // Dragging on a touch screen scrolls the page.
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    xaxis: {
      ...shared, type: data.x.time ? "date" : data.x.log ? "log" : "linear", showgrid: false, showline: true,
      ticks: "outside", ticklen: 4, anchor: "free", title: data.x.title ? { text: data.x.title } : undefined,
      ...(data.ends && { range: padded(data.ends), autorange: false }),
    },
    yaxis9: { domain: [0, LANE_HEIGHT], range: [0, 1], fixedrange: true, visible: false },
    ...Object.fromEntries(yaxes),
    shapes: [...data.events.map((event) => span(event, ink)), ...data.notes.map((note) => moment(note, ink))],
    annotations: [...data.panels.flatMap((panel, i) => words(data, panel, i, ink)), ...data.notes.map((note) => letter(note, ink))],
  };
}

function domain(data, i) {
  const bottom = data.lane.x.length ? LANE_HEIGHT + 0.04 : 0;
  const n = data.panels.length;
  const height = (1 - bottom - GAP * (n - 1)) / n;
  const low = 1 - (i + 1) * height - i * GAP;
  return [Math.max(0, low), Math.min(1, low + height)];
}

function inks(node) {
  const probe = document.createElement("i");
  node.append(probe);
  const names = ["text", "quiet", "line", "grid", "surface", "accent", "clean", "warning", "drift", "failing", "silent", "frozen", "unwatched", "waiting"];
  const found = Object.fromEntries(names.map((name) => {
    probe.style.color = `var(--${name})`;
    return [name, getComputedStyle(probe).color];
  }));
  probe.remove();
  return { ...found, failed: found.failing, running: found.waiting };
}

const axisOf = (i) => (i === 0 ? "y" : `y${i + 1}`);
const verdicts = (list) => Object.keys(SYMBOLS).filter((name) => list.includes(name));
const plain = (x, y, yaxis) => ({ x, y, yaxis, mode: "lines", hoverinfo: "skip" });

function only(points, verdict) {
  const at = points.verdict.map((found, i) => (found === verdict ? i : -1)).filter((i) => i >= 0);
  return Object.fromEntries(Object.entries(points).map(([name, list]) => [name, at.map((i) => list[i])]));
}

function line(points, yaxis, color, pauses = true) {
  const times = points.x.map((text) => (typeof text === "string" ? Date.parse(`${text.replace(" ", "T")}Z`) : text));
  const pause = PAUSE * median(times.slice(1).map((time, i) => time - times[i]));
  const [x, y] = [[], []];
  points.x.forEach((value, i) => {
    if (pauses && i > 0 && times[i] - times[i - 1] > pause) {
      x.push(value);
      y.push(null);
    }
    x.push(value);
    y.push(points.y[i]);
  });
  return { ...plain(x, y, yaxis), line: { color, width: 1 } };
}

/** Points follow each other in time; against anything else a line between them says nothing, unless it is asked for. */
const joined = (data) => data.x.time || data.kind === "line";

function dotted(points, yaxis, ink) {
  return { ...line(points, yaxis, ink.accent), line: { color: ink.accent, width: 1.5, dash: "dot" } };
}

function open(points, yaxis, ink) {
  return { ...plain(points.x, points.y, yaxis), mode: "markers", marker: { symbol: "circle-open", size: 6, color: ink.accent } };
}

function bar(points, yaxis, ink) {
  return { type: "bar", x: points.x, y: points.y, yaxis, marker: { color: points.verdict.map((v) => ink[v]) }, customdata: points.id.map((id) => [id]), hoverinfo: "y" };
}

function threshold(found, yaxis, color, dash) {
  return found && { ...plain(found.x, found.y, yaxis), line: { color, width: 1.5, dash, shape: "hv" } };
}

function markers(points, name, yaxis, verdict, ink) {
  return {
    x: points.x, y: points.y ?? points.x.map(() => 0.5), yaxis, mode: "markers", cliponaxis: false,
    marker: { symbol: SYMBOLS[verdict], size: SIZES[verdict], color: ink[verdict], line: { color: ink.surface, width: OPEN.has(verdict) ? 2 : 0.5 } },
    customdata: points.id.map((id, i) => [id, points.words?.[i] ?? "", (points.time ?? points.x)[i].slice(0, 19)]),
    hovertemplate: `${name} %{customdata[1]}<br>%{customdata[2]}<extra></extra>`,
  };
}

function ring(points, id, yaxis, ink) {
  const at = points.id.indexOf(id);
  return at >= 0 && {
    x: [points.x[at]], y: [points.y[at]], yaxis, mode: "markers", cliponaxis: false, hoverinfo: "skip",
    marker: { symbol: "circle-open", size: 17, color: ink.text, line: { width: 2 } },
  };
}

function span({ kind, begin, end }, ink) {
  return { type: "rect", xref: "x", yref: "paper", x0: begin, x1: end, y0: 0, y1: 1, fillcolor: ink[kind], opacity: 0.07, line: { width: 0 }, layer: "below" };
}

function moment({ at }, ink) {
  return { type: "line", xref: "x", yref: "paper", x0: at, x1: at, y0: 0, y1: 1, line: { color: ink.quiet, width: 1, dash: "dot" } };
}

function letter({ letter: text, at }, ink) {
  return { xref: "x", yref: "paper", x: at, y: 1, yanchor: "bottom", text, showarrow: false, font: { color: ink.surface, size: 11 }, bgcolor: ink.text, borderpad: 2 };
}

function words(data, panel, i, ink) {
  const title = { xref: "paper", x: 0, xanchor: "left", yref: "paper", y: domain(data, i)[1], yanchor: "bottom", text: panel.title.replaceAll("<", "‹"), showarrow: false, font: { color: ink.text, size: 12 } };
  const label = (found, color, yanchor, xshift = 5) => found && { xref: "paper", x: 0, xanchor: "left", xshift, yref: axisOf(i), y: panel.log ? Math.log10(found.last) : found.last, yanchor, text: found.label, showarrow: false, font: { color, size: 11 } };
  const trend = panel.trend && { ...title, x: 1, xanchor: "right", text: panel.trend.label };
  return [title, label(panel.drift, ink.drift, "bottom"), warningLabel(data, panel, ink, label), trend].filter(Boolean);
}

/** Below its line; but above it, or beside the words on drift, where that would lie over the axis. */
function warningLabel(data, { points, drift, warning, log }, ink, label) {
  if (!warning) return null;
  const on = (value) => (log ? Math.log10(value) : value);
  const values = [...points.y, drift?.last, warning.last].filter(Number.isFinite).map(on).filter(Number.isFinite);
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const room = LABEL * data.panels.length * (values.reduce((a, b) => Math.max(a, b), -Infinity) - low);
  if (on(warning.last) - low > room) return label(warning, ink.warning, "top");
  const isNear = drift && on(drift.last) - on(warning.last) < room;
  if (!isNear) return label(warning, ink.warning, "bottom");
  return label({ ...drift, label: warning.label }, ink.warning, "bottom", 12 + LETTER_PX * drift.label.length);
}

/** The ends of the axis, so far apart that the outermost marks are whole. */
function padded([from, to]) {
  const [a, b] = [from, to].map((text) => Date.parse(`${text.replace(" ", "T")}Z`));
  const room = b - a < 1000 ? ALONE_MS : Math.max((b - a) * 0.01, 500);
  return [a - room, b + room].map((time) => new Date(time).toISOString().replace("T", " ").replace("Z", ""));
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? Math.max(sorted[sorted.length >> 1], 1) : Infinity;
}
