/** Buttons that turn pages, from the server's X-Pagination. */

import { h, put } from "./dom.js";
import { count } from "./format.js";

/**
 * @param {HTMLElement} nav
 * @param {import("./api.js").Pagination & {size: number}} pagination
 * @param {(page: number) => void} onTurn
 * @param {{newer: string, older: string}} words
 */
export function showPager(nav, pagination, onTurn, words) {
  const { page, total, total_pages: pages = 0, size } = pagination;
  nav.hidden = pages < 2 && page < 2;
  const first = (page - 1) * size + 1;
  const button = (text, target) =>
    h(
      "button",
      { type: "button", disabled: target < 1 || target > pages, onclick: () => onTurn(target) },
      text,
    );
  put(
    nav,
    button(words.newer, page - 1),
    h("span", {}, `${count(first)}–${count(Math.min(page * size, total))} of ${count(total)}`),
    button(words.older, page + 1),
  );
}
