// Pieces that several pages are made of.

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { t } from "./words.js";

export function Problem({ error }) {
  if (!error) return null;
  const text = error.code === "unreachable" ? t("unreachable") : error.message;
  return html`<p class="card alert" role="alert">${text}</p>`;
}

export function Fact({ name, children }) {
  return html`<div><dt>${name}</dt><dd>${children}</dd></div>`;
}

// The values of the last minutes as a line, with its meaning for those who can't see it.
export function Spark({ values, label }) {
  const most = Math.max(...values, 1e-9);
  const points = values.map((value, place) => `${(100 * place) / Math.max(values.length - 1, 1)},${30 - (28 * value) / most}`);
  return html`<svg class="spark" viewBox="0 0 100 30" preserveAspectRatio="none" role="img" aria-label=${label}>
    <polyline points=${points.join(" ")} />
  </svg>`;
}

// A button whose work is awaited; what goes wrong is given to `failed`. One that submits is what the enter key presses in its form.
export function Doing({ act, failed, children, main = false, submits = false, disabled = false, label }) {
  const [busy, setBusy] = useState(false);
  const here = useRef(true);
  useEffect(() => () => { here.current = false; }, []);
  const click = async () => {
    setBusy(true);
    failed(null);
    try {
      await act();
    } catch (error) {
      failed(error);
    }
    if (here.current) setBusy(false);
  };
  return html`<button type=${submits ? "submit" : "button"} class=${main ? "main" : ""} disabled=${busy || disabled} aria-busy=${busy} aria-label=${label} onClick=${click}>
    ${children}
  </button>`;
}
