// Markdown of a model or of anybody else as a piece of the page that can neither run nor ask for anything.

import DOMPurify from "./vendor/purify.js";
import { marked } from "./vendor/marked.js";
import { t } from "./words.js";

const TAGS = [
  "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "strong", "table",
  "tbody", "td", "th", "thead", "tr", "ul",
];

export function markup(text) {
  const found = DOMPurify.sanitize(marked.parse(text, { async: false }), {
    ALLOWED_TAGS: TAGS, ALLOWED_ATTR: ["href", "start"], RETURN_DOM_FRAGMENT: true,
  });
  for (const link of found.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  for (const block of found.querySelectorAll("pre")) {
    block.tabIndex = 0;
    const copy = document.createElement("button");
    const code = block.textContent;
    copy.type = "button";
    copy.textContent = t("copy");
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code);
      copy.textContent = t("copied");
    });
    block.after(copy);
  }
  return found;
}
