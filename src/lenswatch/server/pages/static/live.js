/** New jobs as they arrive: server-sent events, and asking every second while those are away. */

const POLL_MS = 1000; // while there should be events and are none
const POLL_HIDDEN_MS = 5000;
const REOPEN_MS = 5000;

/**
 * Watch until the page goes.
 * @param {string} url the event stream
 * @param {Object} listener
 * @param {(record: Object) => void} listener.onRecord one job came or changed
 * @param {() => Promise<void>} listener.catchUp fetch what may have been missed
 * @param {(state: "live"|"reconnecting") => void} listener.onState
 */
export function watch(url, { onRecord, catchUp, onState }) {
  let source = null;
  let asking = 0;
  let missed = true; // whatever came while the page was loading

  function open() {
    source?.close();
    if (document.hidden) return;
    source = new EventSource(url);
    source.onopen = resume;
    source.onerror = interrupted;
    source.onmessage = (event) => {
      const record = parse(event.data);
      if (record) onRecord(record);
    };
  }

  function resume() {
    clearTimeout(asking);
    asking = 0;
    onState("live");
    if (missed) catchUp().catch(() => {});
    missed = false;
  }

  function interrupted() {
    missed = true;
    onState("reconnecting");
    if (source.readyState === EventSource.CLOSED) setTimeout(open, REOPEN_MS);
    if (!asking) asking = setTimeout(ask, POLL_MS);
  }

  async function ask() {
    await catchUp().catch(() => {});
    if (asking) asking = setTimeout(ask, document.hidden ? POLL_HIDDEN_MS : POLL_MS);
  }

  /** Browsers allow few connections to one server: a hidden tab gives its own to the others. */
  function hide() {
    source?.close();
    missed = true;
    clearTimeout(asking);
    asking = setTimeout(ask, POLL_HIDDEN_MS);
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? hide() : open()));
  window.addEventListener("pagehide", () => source?.close());
  window.addEventListener("pageshow", (event) => event.persisted && open());
  if (document.hidden) hide();
  else open();
}

function parse(text) {
  try {
    const record = JSON.parse(text);
    return typeof record?.id === "string" ? record : null;
  } catch {
    return null;
  }
}
