/** Making elements. Text is always set as text: what users typed and nodes sent is never markup. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. `props` are attributes, except `class`, `on…` listeners and `dataset`.
 * @param {string} tag
 * @param {Object<string, any>} [props]
 * @param {...(Node|string|number|null|undefined|false)} children
 * @returns {HTMLElement}
 */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/**
 * An SVG element, made like `h`.
 * @returns {SVGElement}
 */
function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

/** The shape that stands for a verdict. */
export function shape(verdict) {
  return svg(
    "svg",
    { class: "shape", dataset: { verdict }, "aria-hidden": "true" },
    svg("use", { href: `#shape-${verdict}` }),
  );
}

/** Replace what is inside `node`. */
export function put(node, ...children) {
  node.replaceChildren(...children.filter(isShown));
}

/** The element of that id. */
export const byId = (id) => document.getElementById(id);

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) set(node, name, value);
  node.append(...children.filter(isShown));
  return node;
}

function set(node, name, value) {
  if (name === "dataset") Object.assign(node.dataset, value);
  else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
  else if (value === true) node.setAttribute(name, "");
  else if (value !== false && value != null) node.setAttribute(name, value);
}

function isShown(child) {
  return child !== null && child !== undefined && child !== false;
}

/**
 * Make `nodes` the children of `parent`, leaving alone those already in place: an element that a
 * pointer is pressing on, or that has the focus, must not be taken out and put back.
 */
export function arrange(parent, nodes) {
  nodes.forEach((node, i) => {
    if (parent.children[i] !== node) parent.insertBefore(node, parent.children[i] ?? null);
  });
  while (parent.children.length > nodes.length) parent.lastElementChild.remove();
}
