/** The overview and the pages of forms: rendered by the server, kept up to date here. */

import { startPage } from "./page.js";
import { watchPulse } from "./pulse.js";

startPage();
const { base, live } = document.body.dataset;
if (live) watchPulse(`${base}/${live}`);
