/** Distance and lens score over time, drawn with plotly.js. Only numbers and times go in, never a user's text. */

import { byId, h, put } from "./dom.js";
import { counted, number } from "./format.js";
import { missingNote } from "./missing.js";
import { plotly } from "./plotly.js";
import { layoutFor, panelsOf, tracesFor } from "./figure.js";

const CONFIG = { displayModeBar: false, responsive: true, showTips: false, doubleClick: "reset" };
const DELAY_MS = 100; // what changes together is drawn once

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
    if (!this.timer && this.wanted) this.timer = setTimeout(() => this.#draw(), DELAY_MS);
  }

  async #draw() {
    const { stream, points, count, selected } = this.wanted;
    const shown = count ? points.slice(-count) : points;
    try {
      const Plotly = await plotly();
      if (!this.drawn) put(this.node);
      const grown = this.#makeRoom(panelsOf(shown).length > 1);
      const layout = layoutFor(shown, this.node, `${stream} ${count}`);
      await Plotly.react(this.node, tracesFor(shown, selected, this.node), layout, CONFIG);
      if (grown && this.drawn) await Plotly.Plots.resize(this.node);
      if (!this.drawn) this.#listen();
      this.drawn = true;
      this.node.setAttribute("aria-label", summary(stream, shown));
      const note = missingNote(shown);
      put(byId("missing"), note);
      byId("missing").hidden = !note;
    } catch (error) {
      put(this.node, h("p", { class: "quiet placeholder" }, error.message));
    } finally {
      this.timer = 0;
      if (this.wanted.points !== points || this.wanted.selected !== selected) this.#later();
    }
  }

  /** Two panels need a higher plot than one. @returns {boolean} true if that changed it */
  #makeRoom(two) {
    const before = this.node.classList.contains("two");
    this.node.classList.toggle("two", two);
    byId("charted").textContent = two ? "Distance and lens score" : "Distance over time";
    return before !== two;
  }

  #listen() {
    this.node.on("plotly_click", ({ points }) => {
      const id = points[0]?.customdata?.[0];
      if (id) this.onPick(id);
    });
    this.node.on("plotly_relayout", (change) => {
      if (Object.keys(change).some((key) => key.endsWith(".range[0]"))) this.unzoom.hidden = false;
      if (change["xaxis.autorange"]) this.unzoom.hidden = true;
    });
  }

  async #resetZoom() {
    const Plotly = await plotly();
    const axes = ["xaxis", "yaxis", "yaxis3"].filter((axis) => axis in this.node.layout);
    const free = Object.fromEntries(axes.map((axis) => [`${axis}.autorange`, true]));
    await Plotly.relayout(this.node, free);
    this.unzoom.hidden = true;
  }
}

function summary(stream, points) {
  const last = points.findLast((point) => point.distance !== null);
  const drifted = points.filter((point) => point.verdict === "drift").length;
  const scored = points.findLast((point) => point.score !== null);
  const newest = (last ? `, the newest distance is ${number(last.distance)}` : "")
    + (scored ? `, the newest lens score ${number(scored.score)}` : "");
  return `${scored ? "Distance and lens score" : "Distance"} over time of ${stream}: ${counted(points.length, "job")}, ${drifted} with drift${newest}.`
    + " The table below has the same jobs.";
}
