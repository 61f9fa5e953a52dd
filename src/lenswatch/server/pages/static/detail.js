/** The panel of one job: picture, verdict, causes, and every parameter. */

import { h, put, shape } from "./dom.js";
import { localTime, number, parseTime, timeElement, utcTime } from "./format.js";
import { missingSentences } from "./missing.js";
import { pictureOf, whereIn } from "./picture.js";
import { parametersOf, streamOf, timeOf } from "./record.js";
import { tagsOf } from "./table.js";
import { nameOf } from "./streams.js";
import { explain, pointOf } from "./verdict.js";

const DRAWN_ELSEWHERE = new Set(["deviations", "causes", "calibration_notes"]);

export class Detail {
  /**
   * @param {HTMLElement} panel
   * @param {Object} actions
   * @param {Object} actions.api of the experiment
   * @param {(id: string) => string} actions.link the address to share
   * @param {(id: string, steps: number) => void} actions.step to an older (-1) or newer (1) job
   * @param {() => void} actions.follow show the newest job again
   */
  constructor(panel, actions) {
    this.panel = panel;
    this.actions = actions;
    this.shown = "";
    document.addEventListener("keydown", ({ key, target }) => {
      if (key === "Escape" && !target.closest("input, select")) actions.follow();
    });
  }

  /**
   * Show a job.
   * @param {Object} record
   * @param {{pinned: boolean, older: boolean, newer: boolean}} place whether it was picked (or is
   *   simply the newest), and whether there are jobs beside it
   */
  show(record, place) {
    const state = JSON.stringify([record, place]);
    if (state === this.shown) return;
    this.shown = state;
    const { figure, light } = pictureOf(record, this.actions.api);
    const held = this.panel.contains(document.activeElement) ? document.activeElement.dataset.act : null;
    put(
      this.panel,
      this.#head(record, place),
      figure,
      this.#verdict(record),
      causes(parametersOf(record), light),
      facts(record),
      parameters(record),
    );
    if (held) this.panel.querySelector(`[data-act="${held}"]`)?.focus();
  }

  /** Show a sentence where a job would be. */
  say(text) {
    this.shown = "";
    put(this.panel, h("h2", { id: "detail-title" }, "Job"), h("p", { class: "quiet" }, text));
  }

  #head(record, { pinned, older, newer }) {
    const act = (name, text, label, onclick, enabled = true) => h(
      "button",
      {
        type: "button",
        dataset: { act: name },
        "aria-label": label,
        title: label,
        disabled: !enabled,
        onclick,
      },
      text,
    );
    const { step, follow } = this.actions;
    return h(
      "div",
      { class: "card-head" },
      h("h2", { id: "detail-title" }, pinned ? "Job" : "Newest job"),
      h(
        "div",
        { class: "tools" },
        act("older", "‹", "Older job of this stream", () => step(record.id, -1), older),
        act("newer", "›", "Newer job of this stream", () => step(record.id, 1), newer),
        act("copy", "Copy link", "Copy a link to this job", (event) => this.#copy(event.target, record.id)),
        pinned && act("follow", "Follow newest", "Show the newest job again", follow),
      ),
    );
  }

  async #copy(button, id) {
    const link = this.actions.link(id);
    try {
      await navigator.clipboard.writeText(link);
      button.textContent = "Copied";
    } catch {
      window.prompt("Copy this link:", link); // no clipboard without TLS
    }
    setTimeout(() => (button.textContent = "Copy link"), 1500);
  }

  #verdict(record) {
    const { verdict } = pointOf(record);
    const [first, ...rest] = [...explain(record), ...missingSentences(parametersOf(record))];
    return h(
      "div",
      { class: "verdict-block" },
      h("p", { class: "verdict", dataset: { verdict } }, shape(verdict), h("strong", {}, verdict)),
      h("p", {}, first),
      ...rest.map((text) => h("p", { class: "quiet" }, text)),
    );
  }
}

function causes({ causes: found, deviations }, light) {
  if (!Array.isArray(found) || found.length === 0) return null;
  const size = Array.isArray(deviations) ? [deviations.length, deviations[0]?.length] : [4, 5];
  const items = found.filter((cause) => cause && typeof cause === "object").map((cause) => {
    const cells = Array.isArray(cause.cells) ? cause.cells : [];
    const strength = typeof cause.strength === "number" ? number(cause.strength) : "";
    const show = () => light(cells);
    const hide = () => light([]);
    const listeners = { onmouseenter: show, onmouseleave: hide, onfocus: show, onblur: hide };
    return h(
      "li",
      { tabindex: cells.length ? "0" : null, ...listeners },
      h("span", {}, String(cause.name ?? "unnamed"), h("span", { class: "quiet" }, whereIn(cells, size))),
      h("span", { class: "quiet number" }, strength),
    );
  });
  return h("div", {}, h("h3", {}, "What changed"), h("ol", { class: "causes" }, ...items));
}

function facts(record) {
  const time = timeOf(record);
  const arrived = parseTime(record.created_at);
  const tags = tagsOf(record);
  const rows = [
    ["Time", h("span", {}, timeElement(time), h("br"), h("span", { class: "quiet" }, utcTime(time)))],
    arrived && Math.abs(arrived - time) > 1000 && ["Arrived", timeElement(arrived, localTime(arrived))],
    ["Stream", nameOf(streamOf(record))],
    ["Status", record.job_status],
    ["Model", record.model || "–"],
    tags.length > 0 && ["Tags", tags.join(", ")],
    ["Job", record.id],
  ].filter(Boolean);
  return h("dl", { class: "facts" },
    ...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function parameters(record) {
  const entries = Object.entries(parametersOf(record)).filter(([name]) => !DRAWN_ELSEWHERE.has(name));
  if (entries.length === 0) return h("p", { class: "quiet" }, "The job has no parameters.");
  const rows = entries.map(([name, value]) =>
    h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, readable(value))));
  return h("details", { open: matchMedia("(min-width: 68rem)").matches },
    h("summary", {}, "Parameters"), h("table", { class: "parameters" }, h("tbody", {}, ...rows)));
}

function readable(value) {
  if (value === null) return h("span", { class: "quiet" }, "none");
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "object") return String(value);
  const text = Array.isArray(value) ? JSON.stringify(value) : flat(value);
  return text.length <= 60 ? text : h("pre", { tabindex: "0" }, JSON.stringify(value, null, 1));
}

/** {filled: 12, size: 12} as "filled 12, size 12". */
function flat(object) {
  const parts = Object.entries(object).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
  return parts.join(", ") || "{}";
}
