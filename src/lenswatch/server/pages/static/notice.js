/** The notice at the top of a page: an error, and a link that helps. */

import { byId, h, put } from "./dom.js";

const REFUSED = [401, 403, 404]; // 404 is what a private experiment answers to strangers

/**
 * Say what `error` says, or nothing any more.
 * @param {Error & {status?: number} | null} error
 */
export function report(error) {
  const { login } = document.body.dataset; // only where there are accounts
  const closed = login && REFUSED.includes(error?.status);
  byId("notice").hidden = !error;
  put(
    byId("notice"),
    error?.status === 401 ? "You are no longer logged in." : error?.message,
    error && !error.status && " Trying again…",
    closed && " ",
    closed && h("a", { href: login }, "Log in"),
    closed && " to see private experiments.",
  );
}
