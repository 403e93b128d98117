// Markdown of a model or of anybody else as a piece of the page that can neither run nor ask for anything.

import DOMPurify from "./vendor/purify.js";
import { marked } from "./vendor/marked.js";
import { copyText } from "./clipboard.js";
import { highlight } from "./highlight.js";
import { t } from "./words.js";

const TAGS = [
  "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "strong", "table",
  "tbody", "td", "th", "thead", "tr", "ul",
];
const LANGUAGE = /^language-([\w+#-]+)$/;

export function markup(text) {
  const found = DOMPurify.sanitize(marked.parse(text, { async: false }), {
    ALLOWED_TAGS: TAGS, ALLOWED_ATTR: ["class", "href", "start"], RETURN_DOM_FRAGMENT: true,
  });
  const languages = languagesOf(found);
  for (const link of found.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  for (const block of found.querySelectorAll("pre")) finish(block, languages.get(block.querySelector("code")));
  return found;
}

// What language code is in. Other classes, and these, aren't for the page to be dressed by.
function languagesOf(found) {
  const languages = new Map();
  for (const element of found.querySelectorAll("[class]")) {
    if (element.matches("pre > code")) languages.set(element, LANGUAGE.exec(element.className)?.[1].toLowerCase());
    element.removeAttribute("class");
  }
  return languages;
}

function finish(block, language) {
  const code = block.textContent;
  const copy = document.createElement("button");
  copy.type = "button";
  copy.textContent = t("copy");
  copy.addEventListener("click", async () => {
    await copyText(code);
    copy.textContent = t("copied");
  });
  block.tabIndex = 0;
  block.after(copy);
  if (language) highlight(block.querySelector("code"), language);
}
