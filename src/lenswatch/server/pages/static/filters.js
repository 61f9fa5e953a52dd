/** The filter form of the table, and the contract's query that it stands for. */

import { h } from "./dom.js";

/** Filter names in the form and what the address calls them. */
const NAMES = { stream: "in", status: "status", drift: "drift", tag: "tag", from: "from", to: "to" };

/**
 * The query document for a selection.
 * @param {Object<string, string>} selection
 */
export function toQuery(selection) {
  const query = {};
  if (selection.in) query["parameters.stream"] = selection.in;
  if (selection.status) query.job_status = selection.status;
  if (selection.drift) query.drift_detected = selection.drift === "yes";
  const tags = splitTags(selection.tag);
  if (tags.length) query.tags = { $all: tags };
  return { ...query, ...between(bound(selection.from, 0), bound(selection.to, 1)) };
}

function splitTags(text) {
  return (text ?? "").split(",").map((tag) => tag.trim()).filter(Boolean);
}

/** A local minute as UTC text without zone, so that it compares as text with and without seconds. */
function bound(text, minutesLater) {
  const date = new Date(text ?? "");
  if (Number.isNaN(date.getTime())) return null;
  date.setMinutes(date.getMinutes() + minutesLater);
  return date.toISOString().slice(0, 19);
}

/** The time that the table shows: when the picture was taken, else when its job arrived. */
function between(from, to) {
  const range = (suffix) => ({
    ...(from && { $gte: from + suffix }),
    ...(to && { $lt: to + suffix }),
  });
  if (!from && !to) return {};
  const taken = "parameters.captured_at";
  const arrived = { $or: [{ [taken]: null }, { [taken]: { $lt: "2010" } }], created_at: range("Z") };
  return { $or: [{ [taken]: range("") }, arrived] };
}

export class Filters {
  /**
   * @param {HTMLFormElement} form
   * @param {(changes: Object<string, string>) => void} onChange
   */
  constructor(form, onChange) {
    this.form = form;
    this.clear = form.querySelector("[type=reset]");
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", () => onChange(this.read()));
    form.addEventListener("reset", () => {
      // A reset empties the fields only after this event.
      setTimeout(() => onChange(this.read()));
    });
  }

  read() {
    const fields = this.form.elements;
    const entries = Object.entries(NAMES).map(([field, key]) => [key, fields[field].value.trim()]);
    return Object.fromEntries(entries);
  }

  show(selection) {
    for (const [field, key] of Object.entries(NAMES)) this.#set(field, selection[key] ?? "");
    this.clear.hidden = Object.values(NAMES).every((key) => !selection[key]);
  }

  /** Offer these streams and tags. */
  offer(streams, tags) {
    const { stream } = this.form.elements;
    const chosen = stream.value;
    stream.replaceChildren(h("option", { value: "" }, "all"), ...streams.filter(Boolean).map(option));
    this.#set("stream", chosen);
    this.form.querySelector("#tags").replaceChildren(...tags.map(option));
  }

  #set(field, value) {
    const control = this.form.elements[field];
    if (control.value === value) return;
    control.value = value;
    if (control.value !== value && control instanceof HTMLSelectElement) {
      control.append(option(value)); // a stream that a link names and this page has not met
      control.value = value;
    }
  }
}

function option(value) {
  return h("option", { value }, value);
}
