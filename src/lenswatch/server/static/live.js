/** New jobs as they arrive: server-sent events, and asking every second while those are away. */

const ASK_EVERY = 1000; // milliseconds
const REOPEN_AFTER = 5000;

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
    if (source.readyState === EventSource.CLOSED) setTimeout(open, REOPEN_AFTER);
    if (!asking) asking = setTimeout(ask, ASK_EVERY);
  }

  async function ask() {
    await catchUp().catch(() => {});
    if (asking) asking = setTimeout(ask, ASK_EVERY);
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) catchUp().catch(() => {});
  });
  window.addEventListener("pagehide", () => source?.close());
  open();
}

function parse(text) {
  try {
    const record = JSON.parse(text);
    return typeof record?.id === "string" ? record : null;
  } catch {
    return null;
  }
}
