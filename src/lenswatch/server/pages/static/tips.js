/** The words behind a number, on focus and tap as the browser shows them on hover. */

let tip = null;

export function wireTips() {
  document.addEventListener("focusin", ({ target }) => show(target));
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", ({ key }) => key === "Escape" && hide());
  document.addEventListener("click", ({ target }) => target.matches?.(".why") && show(target));
}

function show(target) {
  hide();
  if (!target.matches?.(".why[title]")) return;
  tip = document.createElement("div");
  Object.assign(tip, { className: "tip", id: "tip", textContent: target.title });
  tip.setAttribute("role", "tooltip");
  document.body.append(tip);
  target.setAttribute("aria-describedby", "tip");
  const box = target.getBoundingClientRect();
  const left = Math.min(box.left, document.documentElement.clientWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(8, left) + scrollX}px`;
  tip.style.top = `${box.bottom + 6 + scrollY}px`;
}

function hide() {
  tip?.remove();
  tip = null;
  document.querySelector("[aria-describedby=tip]")?.removeAttribute("aria-describedby");
}
