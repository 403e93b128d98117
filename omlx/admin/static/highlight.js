// Colours in code. What is needed for that is fetched when the first code in a language is shown.

import DOMPurify from "./vendor/purify.js";

const LANGUAGES = [
  "bash", "c", "cpp", "css", "diff", "go", "java", "javascript", "json", "python", "ruby", "rust", "sql", "swift", "typescript", "xml",
  "yaml",
];
const ALIASES = {
  "c++": "cpp", cc: "cpp", golang: "go", h: "c", hpp: "cpp", html: "xml", js: "javascript", jsx: "javascript", patch: "diff", py: "python",
  py3: "python", rb: "ruby", rs: "rust", sh: "bash", shell: "bash", svg: "xml", ts: "typescript", tsx: "typescript", yml: "yaml", zsh: "bash",
};
const loading = new Map();

// Colours an element's text, now or once its language is there; a language that isn't known changes nothing.
export async function highlight(element, name) {
  const language = ALIASES[name] ?? name;
  if (!LANGUAGES.includes(language)) return;
  if (!loading.has(language)) loading.set(language, load(language));
  const engine = await loading.get(language);
  const { value } = engine.highlight(element.textContent, { language, ignoreIllegals: true });
  element.replaceChildren(DOMPurify.sanitize(value, { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true }));
}

async function load(language) {
  const [{ default: engine }, { default: grammar }] = await Promise.all([
    import("./vendor/highlight/core.js"), import(`./vendor/highlight/${language}.js`),
  ]);
  engine.registerLanguage(language, grammar);
  return engine;
}
