/** The jobs section: filters, table and pages, asked of the server as they change. */

import { byId } from "./dom.js";
import { count, counted } from "./format.js";
import { Filters, toQuery } from "./filters.js";
import { showPager } from "./pager.js";
import { JobTable, tagsOf } from "./table.js";

const DELAY_MS = 300; // jobs that arrive together cost two searches

export class Jobs {
  /**
   * @param {Object} api of the experiment
   * @param {Object} actions
   * @param {(record: Object) => string} actions.linkTo
   * @param {(record: Object) => void} actions.onPick
   * @param {(changes: Object<string, string>) => void} actions.onChange of filters or page
   * @param {(error: Error) => void} actions.onError
   */
  constructor(api, { linkTo, onPick, onChange, onError }) {
    Object.assign(this, { api, onChange, onError, tags: new Set() });
    Object.assign(this, { asked: 0, timer: 0, again: false, missed: 0 });
    this.table = new JobTable(byId("jobs"), linkTo, onPick);
    this.filters = new Filters(byId("filters"), (changes) => onChange({ ...changes, page: "" }));
    byId("newer-jobs").addEventListener("click", () => onChange({ page: "" }));
  }

  /** Fetch and show what is selected. */
  async show(selection, streams) {
    this.selection = selection;
    this.filters.show(selection);
    this.filters.offer(streams, [...this.tags]);
    this.asked += 1;
    const turn = this.asked;
    byId("jobs").setAttribute("aria-busy", "true");
    try {
      const reply = await this.api.search(toQuery(selection), pageOf(selection));
      if (turn === this.asked) this.#draw(reply, streams);
    } catch (error) {
      if (turn === this.asked) this.onError(error);
    } finally {
      if (turn === this.asked) byId("jobs").removeAttribute("aria-busy");
    }
  }

  /** A job came: show it on the first page; say so on later ones, where rows should not jump. */
  arrived(streams) {
    if (pageOf(this.selection) > 1) {
      this.missed += 1;
      this.#showMissed();
    } else if (this.timer) {
      this.again = true;
    } else {
      this.show(this.selection, streams());
      this.timer = setTimeout(() => {
        const again = this.again;
        Object.assign(this, { timer: 0, again: false });
        if (again) this.arrived(streams);
      }, DELAY_MS);
    }
  }

  /** Mark the row of that job. */
  select(id) {
    this.table.select(id);
  }

  #draw({ rows, pagination }, streams) {
    for (const tag of rows.flatMap(tagsOf)) this.tags.add(tag);
    this.filters.offer(streams, [...this.tags]);
    this.table.show(rows, this.selection.job);
    byId("jobs").hidden = rows.length === 0;
    byId("jobs-empty").hidden = rows.length > 0;
    byId("jobs-count").textContent = count(pagination.total ?? rows.length);
    const turn = (page) => this.onChange({ page: page > 1 ? String(page) : "" });
    showPager(byId("pager"), pagination, turn, { newer: "Newer", older: "Older" });
    if (pagination.page === 1) this.missed = 0;
    this.#showMissed();
  }

  #showMissed() {
    const button = byId("newer-jobs");
    button.hidden = this.missed === 0;
    button.textContent = counted(this.missed, "new job");
  }
}

function pageOf(selection) {
  return Math.max(1, Number.parseInt(selection.page, 10) || 1);
}
