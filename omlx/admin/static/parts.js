// Pieces that several pages are made of.

import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { moment, t } from "./words.js";

const SEVERE = { warning: "warn", error: "bad", critical: "bad" };

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

// A number as it is shown, and its values of the last minutes.
export function Course({ name, values, shown }) {
  const now = shown(values[values.length - 1]);
  const label = t("chart", { name, now, most: shown(Math.max(...values)) });
  return html`<${Fact} name=${name}>${now}<${Spark} values=${values} label=${label} /></${Fact}>`;
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

// A line of a log, its traceback folded.
export function LogLine({ line }) {
  return html`<div class="line">
    <time class="quiet" datetime=${line.time}>${moment(line.time)}</time>
    <strong class=${SEVERE[line.level] ?? "quiet"}>${t(`level.${line.level}`)}</strong>
    <span class="quiet">${line.source}</span>
    ${line.request_id && html`<span class="quiet">${line.request_id}</span>`}
    <span class="wide">${line.message}</span>
    ${line.exception && html`<details><summary>${t("traceback")}</summary><pre tabindex="0">${line.exception}</pre></details>`}
  </div>`;
}
