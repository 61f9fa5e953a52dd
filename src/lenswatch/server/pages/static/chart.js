/** The chart, drawn with plotly.js. What it shows comes from the server; only numbers and times go in. */

import { layoutOf, tracesOf } from "./figure.js";
import { plotly } from "./plotly.js";

const CONFIG = { displayModeBar: false, responsive: true, showTips: false, doubleClick: false };
const DELAY_MS = 80; // what changes together is drawn once

export class Chart {
  /**
   * @param {HTMLElement} node
   * @param {{onPick: (id: string) => void, onZoom: (from: string, to: string) => void}} actions
   */
  constructor(node, actions) {
    Object.assign(this, { node, actions, data: null, selected: "", drawn: false, timer: 0, asked: 0, key: "" });
    this.drawing = Promise.resolve();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#later());
  }

  /** Fetch and show what is at an address; `key` changes when zooming starts anew. */
  async load(address, key) {
    const mine = ++this.asked;
    plotly().catch(() => null); // loads at the same time
    const reply = await fetch(address, { signal: AbortSignal.timeout(20_000) }).catch(() => null);
    if (!reply?.ok || mine !== this.asked) return;
    Object.assign(this, { data: await reply.json(), key });
    this.#later();
  }

  /** Ring the point of a job. */
  select(id) {
    if (id === this.selected) return;
    this.selected = id;
    this.#later();
  }

  /** Download the chart as a picture. */
  async save(format) {
    if (!this.drawn) return;
    const Plotly = await plotly();
    await Plotly.downloadImage(this.node, { format, filename: "lenswatch", width: 1200, height: 600, scale: 2 });
  }

  #later() {
    if (!this.data || this.timer) return;
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.drawing = this.drawing.then(() => this.#draw()); // plotly draws one thing at a time
    }, this.drawn ? DELAY_MS : 0);
  }

  async #draw() {
    const { data, node, selected } = this;
    try {
      const Plotly = await plotly();
      if (!this.drawn) node.replaceChildren();
      const before = node.classList.contains("one");
      const grown = before !== node.classList.toggle("one", data.panels.length === 1);
      await Plotly.react(node, tracesOf(data, selected, node), layoutOf(data, node, this.key), CONFIG);
      if (grown && this.drawn) await Plotly.Plots.resize(node);
      if (!this.drawn) this.#listen();
      this.drawn = true;
      node.setAttribute("aria-label", data.summary);
      const missing = document.getElementById("missing");
      missing.textContent = data.missing;
      missing.hidden = !data.missing;
    } catch (error) {
      const words = document.createElement("p");
      words.textContent = error.message;
      words.className = "quiet";
      if (!this.drawn) node.append(words);
    }
  }

  #listen() {
    this.node.on("plotly_click", ({ points }) => {
      const id = points[0]?.customdata?.[0];
      if (id) this.actions.onPick(id);
    });
    this.node.on("plotly_relayout", (change) => {
      const [from, to] = [change["xaxis.range[0]"], change["xaxis.range[1]"]];
      if (this.data.x.time && from && to) this.actions.onZoom(this.#moment(from), this.#moment(to));
    });
  }

  /** A time of the axis, which is on the visitor's clock, with its zone. */
  #moment(text) {
    const whole = String(text).replace(" ", "T").split(".")[0].padEnd(19, ":00");
    return this.data.utc ? `${whole}Z` : new Date(whole).toISOString().replace(".000Z", "Z");
  }
}
