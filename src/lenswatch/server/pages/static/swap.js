/** The server renders every page; this fetches a page anew and exchanges the parts that changed. */

const WAYS = ["data-older", "data-newer", "data-follow"]; // links that lead elsewhere after each step
const PRESS_MS = 2_000; // a press that lasts longer counts as released
const listeners = [];
let asking = 0;

/** An answer that is no page to show: the status, 0 if the server was not reached. */
export class Unreached extends Error {
  constructor(status) {
    super(status ? `The server answered ${status}.` : "The server does not answer.");
    this.status = status;
  }
}

/** Call `listener` after each exchange. */
export function onSwap(listener) {
  listeners.push(listener);
}

/**
 * Show another address of the same page, as a step to go back from or in place.
 * @param {string} address
 * @param {{step?: boolean}} options
 */
export async function go(address, { step = true } = {}) {
  const target = new URL(address, location.href);
  history[step ? "pushState" : "replaceState"](null, "", target);
  await refresh();
}

/** Fetch the page's own address and exchange what changed; a later call takes over. */
export async function refresh() {
  const mine = ++asking;
  const text = await fetched(location.href);
  await released();
  if (mine !== asking) return;
  const page = new DOMParser().parseFromString(text, "text/html");
  if (partsOf(page) !== partsOf(document)) return location.reload(); // the page has another shape now
  document.title = page.title;
  const { activeElement: held } = document;
  const part = held.closest("[data-part]")?.id;
  const path = part && pathOf(held);
  for (const fresh of page.querySelectorAll("[data-part]")) exchange(fresh);
  for (const listener of listeners) listener(); // which may add what had the focus
  if (part && !held.isConnected) find(document.getElementById(part), path)?.focus({ preventScroll: true });
}

/** A click counts only where press and release meet the same element, so nothing is exchanged in between. */
async function released() {
  if (!document.querySelector("[data-part] :active")) return;
  await new Promise((done) => {
    for (const name of ["pointerup", "pointercancel", "keyup"]) addEventListener(name, () => setTimeout(done), { once: true });
    setTimeout(done, PRESS_MS);
  });
}

const partsOf = (page) => [...page.querySelectorAll("[data-part]")].map((part) => part.id).join();

async function fetched(address) {
  let reply;
  try {
    reply = await fetch(address, { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(20_000) });
  } catch {
    throw new Unreached(0);
  }
  if (!reply.ok) throw new Unreached(reply.status);
  return reply.text();
}

function exchange(fresh) {
  const old = document.getElementById(fresh.id);
  if (!old || old.isEqualNode(fresh) || isTyping(old)) return;
  const open = [...old.querySelectorAll("details")].map((node) => node.open);
  keepPictures(old, fresh);
  const node = document.importNode(fresh, true);
  node.querySelectorAll("details").forEach((details, i) => {
    details.open = open[i] ?? details.open;
  });
  old.replaceWith(node);
}

/** A picture that has been loaded is not loaded again. */
function keepPictures(old, fresh) {
  for (const image of fresh.querySelectorAll("img[loading]")) {
    const same = [...old.querySelectorAll("img")].find((other) => other.getAttribute("src") === image.getAttribute("src"));
    if (same?.complete) image.removeAttribute("loading");
  }
}

function isTyping(part) {
  const { activeElement: field } = document;
  return part.contains(field) && field.matches("input:not([type=checkbox], [type=range]), input:active, textarea, select");
}

/** Where an element is in its part: by id, address or action, else by position. */
function pathOf(node) {
  if (node.id) return { id: node.id };
  const way = node.getAttributeNames().find((name) => WAYS.includes(name));
  if (way) return { way };
  const camera = node.closest("[data-camera]")?.id;
  return { camera, href: node.getAttribute("href"), act: node.dataset.act, tag: node.tagName };
}

function find(part, { id, way, camera, href, act, tag }) {
  if (way) return part.querySelector(`[${way}]`) ?? part.querySelector("[data-copy]");
  if (id) return part.querySelector(`#${CSS.escape(id)}`);
  const within = (camera && part.querySelector(`#${CSS.escape(camera)}`)) || part;
  const all = [...within.querySelectorAll(tag)];
  return all.find((n) => n.getAttribute("href") === href && n.dataset.act === act) ?? null;
}

/** Forms and links marked data-soft change the address without loading the page anew. */
export function soften() {
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-soft]");
    if (!form) return;
    event.preventDefault();
    const fields = [...new FormData(form)].filter(([, value]) => value !== "");
    go(`${form.getAttribute("action").split("?")[0]}?${new URLSearchParams(fields)}`).catch(() => form.submit());
  });
  let typing = 0;
  document.addEventListener("input", ({ target }) => {
    const form = target.closest("form[data-soft]");
    clearTimeout(typing);
    if (form) typing = setTimeout(() => form.requestSubmit(), target.matches("select") ? 0 : 300);
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-soft]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    go(link.href).catch(() => location.assign(link.href));
  });
  addEventListener("popstate", () => refresh().catch(() => location.reload()));
}
