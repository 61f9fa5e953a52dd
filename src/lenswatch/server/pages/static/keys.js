/** The keyboard: `/` finds, j and k move between cameras, letters act on the one that has the focus. */

const HELP = [
  ["/", "find a camera"], ["j  k", "next and previous camera"], ["Enter", "open it"],
  ["a", "acknowledge"], ["m", "mute for an hour"], ["c", "lens cleaned"],
  ["f", "false alarm"], ["t", "true drift"], ["g", "back to the overview"], ["?", "these keys"],
];
const ACTS = { a: "acknowledge", m: "mute", c: "cleaned", f: "false alarm", t: "true drift" };

export function wireKeys() {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=range], [type=checkbox]), select, textarea, dialog");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (handle(event.key, event.target)) event.preventDefault();
  });
}

function handle(key, target) {
  if (key === "/") return focus(document.querySelector("[data-find]"));
  if (key === "j" || key === "k") return move(key === "j" ? 1 : -1, target);
  if (key === "Enter" && target.matches("[data-camera]:not(a)")) return press(target.querySelector("h2 a, h3 a"));
  if (key === "g") return press(document.querySelector(".brand"));
  if (key === "?") return help();
  if (key in ACTS) return press(within(target).querySelector(`[data-act="${ACTS[key]}"]`));
  return false;
}

function within(target) {
  return target.closest("[data-camera]") ?? document.querySelector("[data-only]") ?? document.createElement("i");
}

function focus(node) {
  node?.focus();
  return Boolean(node);
}

function press(node) {
  node?.click();
  return Boolean(node);
}

function move(step, target) {
  const cameras = [...document.querySelectorAll("[data-camera]")].filter((node) => node.checkVisibility?.() ?? true);
  const at = cameras.indexOf(target.closest("[data-camera]"));
  const next = cameras[at < 0 ? (step > 0 ? 0 : cameras.length - 1) : at + step];
  next?.scrollIntoView({ block: "nearest" });
  return focus(next);
}

function help() {
  const dialog = document.createElement("dialog");
  dialog.className = "keys-help";
  const list = document.createElement("dl");
  for (const [keys, words] of HELP) {
    const [term, description] = ["dt", "dd"].map((tag) => document.createElement(tag));
    for (const key of keys.split("  ")) term.append(Object.assign(document.createElement("kbd"), { textContent: key }), " ");
    description.textContent = words;
    list.append(term, description);
  }
  const close = Object.assign(document.createElement("button"), { textContent: "Close", onclick: () => dialog.close() });
  dialog.append(Object.assign(document.createElement("h2"), { textContent: "Keys" }), list, close);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return true;
}
