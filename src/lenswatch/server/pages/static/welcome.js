/** The command that sends a first picture, with a button that copies it. */

import { byId } from "./dom.js";

export function wireCopyButton() {
  const button = byId("copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(byId("command").textContent);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    } catch {
      getSelection().selectAllChildren(byId("command")); // no clipboard without TLS
    }
  });
}
