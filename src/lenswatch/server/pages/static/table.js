/** The table of jobs, newest first. */

import { arrange, h, shape } from "./dom.js";
import { aligned, localTime, number, timeElement } from "./format.js";
import { streamOf, timeOf } from "./record.js";
import { pointOf, STATISTICS } from "./verdict.js";

export class JobTable {
  /**
   * @param {HTMLTableElement} table
   * @param {(record: Object) => string} linkTo the address of a job
   * @param {(record: Object) => void} onPick
   */
  constructor(table, linkTo, onPick) {
    this.element = table;
    this.body = table.tBodies[0];
    this.linkTo = linkTo;
    this.onPick = onPick;
    this.rows = new Map(); // a record's text -> its row, so that rows are kept while nothing changes
  }

  show(rows, selected) {
    const row = (record) => this.rows.get(JSON.stringify(record)) ?? this.#row(record);
    this.rows = new Map(rows.map((record) => [JSON.stringify(record), row(record)]));
    arrange(this.body, [...this.rows.values()]);
    this.element.classList.toggle("scoreless", rows.every((record) => pointOf(record).score === null));
    this.select(selected);
  }

  /** Mark the row of that job. */
  select(id) {
    for (const row of this.body.rows) {
      if (row.dataset.id === id) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
  }

  #row(record) {
    const pick = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab is the browser's
      event.preventDefault();
      this.onPick(record);
    };
    return h("tr", { dataset: { id: record.id }, onclick: pick }, ...this.#cells(record));
  }

  #cells(record) {
    const point = pointOf(record);
    const { verdict } = point;
    const [distance, score] = STATISTICS.map((statistic) => shownValue(point, statistic));
    const time = timeOf(record);
    const [day, clock] = localTime(time).split(" ");
    const label = timeElement(time, "");
    label.append(h("span", { class: "day" }, day), " ", clock);
    return [
      h("td", { class: "time" }, h("a", { href: this.linkTo(record) }, label)),
      h("td", { class: "cut" }, streamOf(record) || "–"),
      h("td", { class: "wide" }, record.job_status),
      h("td", { class: "number" }, distance(4), point.score !== null && under("score ", score(2))),
      h("td", { class: "number score" }, score(2)),
      h("td", { class: "verdict", dataset: { verdict } }, shape(verdict), verdict, lateMark(point)),
      h("td", { class: "wider cut model", title: record.model }, record.model),
      h("td", { class: "wide" }, h("span", { class: "tags" }, ...tagsOf(record).map(tagChip))),
    ];
  }
}

/** Makes a value of a point with so many decimals, marked when it is over one of its thresholds. */
function shownValue(point, { value, drift, warning }) {
  const [found, driftAt, warningAt] = [point[value], point[drift], point[warning]];
  const over = [["drift", driftAt], ["warning", warningAt]]
    .find(([, threshold]) => found !== null && threshold !== null && found > threshold);
  const marks = over && {
    class: "over",
    dataset: { verdict: over[0] },
    title: `above the ${over[0]} threshold ${number(over[1])}`,
  };
  return (decimals) => h("span", marks ?? {}, aligned(found, decimals));
}

/** On a narrow page, what would otherwise be a column of its own. */
function under(label, value) {
  return h("span", { class: "under" }, label, value);
}

/** The word for a job that came late. */
function lateMark({ late }) {
  return late && h("span", { class: "quiet", title: "older than the newest job of its stream" }, " late");
}

/** The tags of a record, as texts. */
export function tagsOf(record) {
  return Array.isArray(record.tags) ? record.tags.map(String) : [];
}

function tagChip(tag) {
  return h("span", { class: "tag" }, tag);
}
