/** Tells the server the browser's time zone, in a cookie, so that it can write local times itself. */

import { refresh } from "./swap.js";

const YEAR_S = 365 * 24 * 3600;

export function tellZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const told = document.cookie.split("; ").includes(`lenswatch_tz=${encodeURIComponent(zone)}`);
  if (!zone || told) return;
  const { base } = document.body.dataset;
  const path = new URL(`${base}/`, location.href).pathname;
  // biome-ignore lint/suspicious/noDocumentCookie: the Cookie Store needs TLS, which a server at home has not
  document.cookie = `lenswatch_tz=${encodeURIComponent(zone)}; path=${path}; max-age=${YEAR_S}; samesite=lax`;
  if (document.body.dataset.zone === "local") refresh().catch(() => {});
}
