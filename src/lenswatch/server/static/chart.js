/** Distance over time, drawn with plotly.js. Only numbers and times go in, never a user's text. */

import { h, put } from "./dom.js";
import { number } from "./format.js";
import { plotly } from "./plotly.js";
import { layoutFor, tracesFor } from "./figure.js";

const CONFIG = { displayModeBar: false, responsive: true, showTips: false, doubleClick: "reset" };
const SOON = 100; // milliseconds: what changes together is drawn once

export class Chart {
  /**
   * @param {HTMLElement} node
   * @param {HTMLButtonElement} unzoom
   * @param {(id: string) => void} onPick
   */
  constructor(node, unzoom, onPick) {
    Object.assign(this, { node, unzoom, onPick, drawn: false, wanted: null, timer: 0 });
    unzoom.addEventListener("click", () => this.#resetZoom());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#later());
  }

  /**
   * Show these points; calls in quick succession are drawn as one.
   * @param {{stream: string, points: import("./verdict.js").Point[], count: number, selected: string}} view
   */
  show(view) {
    this.wanted = view;
    this.#later();
  }

  #later() {
    if (!this.timer && this.wanted) this.timer = setTimeout(() => this.#draw(), SOON);
  }

  async #draw() {
    const { stream, points, count, selected } = this.wanted;
    const shown = count ? points.slice(-count) : points;
    try {
      const Plotly = await plotly();
      if (!this.drawn) put(this.node);
      const layout = layoutFor(shown, this.node, `${stream} ${count}`);
      await Plotly.react(this.node, tracesFor(shown, selected, this.node), layout, CONFIG);
      if (!this.drawn) this.#listen();
      this.drawn = true;
      this.node.setAttribute("aria-label", summary(stream, shown));
    } catch (error) {
      put(this.node, h("p", { class: "quiet placeholder" }, error.message));
    } finally {
      this.timer = 0;
      if (this.wanted.points !== points || this.wanted.selected !== selected) this.#later();
    }
  }

  #listen() {
    this.node.on("plotly_click", ({ points }) => {
      const id = points[0]?.customdata?.[0];
      if (id) this.onPick(id);
    });
    this.node.on("plotly_relayout", (change) => {
      if ("xaxis.range[0]" in change || "yaxis.range[0]" in change) this.unzoom.hidden = false;
      if (change["xaxis.autorange"]) this.unzoom.hidden = true;
    });
  }

  async #resetZoom() {
    const Plotly = await plotly();
    await Plotly.relayout(this.node, { "xaxis.autorange": true, "yaxis.autorange": true });
    this.unzoom.hidden = true;
  }
}

function summary(stream, points) {
  const last = points.findLast((point) => point.distance !== null);
  const drifted = points.filter((point) => point.verdict === "drift").length;
  const newest = last ? `, the newest distance is ${number(last.distance)}` : "";
  return `Distance over time of ${stream}: ${points.length} jobs, ${drifted} with drift${newest}.`
    + " The table below has the same jobs.";
}
