// Lines over a few marks, drawn without a library; what they say is in words for those who can't see it.

import { html } from "./vendor/htm-preact.js";
import { language, number, t } from "./words.js";

const LEFT = 46, RIGHT = 352, TOP = 20, BOTTOM = 178;
const COLOURS = 5;

// Round numbers from the least to the most: for logarithms 1, 2 and 5 times powers of ten, or powers alone where these are many.
function ticks(least, most, logarithmic) {
  if (!logarithmic) {
    const step = [1, 2, 2.5, 5, 10].map((each) => each * 10 ** Math.floor(Math.log10(most / 4))).find((each) => each * 4 >= most);
    return [0, 1, 2, 3, 4].map((each) => each * step).filter((each, place, all) => place === 0 || all[place - 1] < most);
  }
  const first = Math.floor(Math.log10(least)) - 1, last = Math.floor(Math.log10(most)) + 1;  // one more each, for rounding
  const wide = last - first > 3;
  const found = [];
  for (let power = first; power <= last; power += 1) found.push(...(wide ? [1] : [1, 2, 5]).map((each) => each * 10 ** power));
  const from = found.findLastIndex((each) => each <= least), to = found.findIndex((each) => each >= most);
  return found.slice(from, to + 1);
}

function short(value) {
  return value.toLocaleString(language, { notation: "compact", maximumFractionDigits: 1 });
}

// `keys` are what the legend tells: names of colours by their `place`, and of dashes where there is no place.
export function Chart({ title, across, marks, series, keys = series, logarithmic = false }) {
  const all = series.flatMap((each) => each.values).filter((value) => value > 0);
  if (all.length === 0) return null;
  const scale = ticks(Math.min(...all), Math.max(...all), logarithmic);
  const [low, high] = [scale[0], scale[scale.length - 1]];
  const share = (value) => (logarithmic ? Math.log(value / low) / Math.log(high / low || 10) : (value - low) / (high - low));
  const y = (value) => BOTTOM - (BOTTOM - TOP) * share(value);
  const x = (place) => LEFT + ((RIGHT - LEFT) * (place + 0.5)) / marks.length;
  const said = series.map((each) => `${each.name}: ${marks.map((mark, place) => `${number(mark)}: ${number(each.values[place], 1)}`).join(", ")}`);
  return html`
    <figure>
      <figcaption>${title}</figcaption>
      <svg class="chart" viewBox="0 0 360 216" role="img" aria-label="${title}. ${said.join("; ")}">
        <text x="4" y="11">${t("tokens_per_second")}</text>
        ${scale.map((tick) => html`<line class="line" x1=${LEFT} x2=${RIGHT} y1=${y(tick)} y2=${y(tick)} />
          <text class="end" x=${LEFT - 6} y=${y(tick) + 4}>${short(tick)}</text>`)}
        ${marks.map((mark, place) => html`<text class="middle" x=${x(place)} y=${BOTTOM + 16}>${number(mark)}</text>`)}
        <text class="middle" x=${(LEFT + RIGHT) / 2} y=${BOTTOM + 33}>${across}</text>
        ${series.map(({ values, place, dashed }) => html`<g class="colour${place % COLOURS} ${dashed ? "dashed" : ""}">
          <polyline points=${values.map((value, at) => (value > 0 ? `${x(at)},${y(value)}` : "")).join(" ")} />
          ${values.map((value, at) => value > 0 && html`<circle cx=${x(at)} cy=${y(value)} r="3.5" />`)}</g>`)}
      </svg>
      <ul class="legend" aria-hidden="true">
        ${keys.map(({ name, place, dashed }) => html`<li><svg class="key colour${place === undefined ? "" : place % COLOURS} ${dashed ? "dashed" : ""}"
          viewBox="0 0 24 8"><polyline points="0,4 24,4" /><circle cx="12" cy="4" r="3" /></svg>${name}</li>`)}
      </ul>
    </figure>`;
}
