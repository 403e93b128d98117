// What runs now, and did in the last minutes.

import { html, useState } from "../vendor/htm-preact.js";
import { copyText } from "../clipboard.js";
import { Course, Fact, LogLine } from "../parts.js";
import { SNIPPETS } from "../snippets.js";
import { bytes, duration, number, percent, t } from "../words.js";

const ANSWERING = ["llm", "vlm", "ocr"];

export function Status({ history, now, session }) {
  if (!now) return html`<p class="quiet">${t("loading")}</p>`;
  const { memory, models } = now.catalog;
  const running = models.filter((model) => model.engines.length > 0);
  return html`
    <section class="card">
      <h2>${t("memory")}</h2>
      <meter min="0" max=${memory.budget_bytes} value=${memory.reserved_bytes} aria-label=${t("memory")} />
      <p>${t("memory.of", { used: bytes(memory.reserved_bytes), budget: bytes(memory.budget_bytes) })}</p>
      <p class="quiet">${t("uptime.server", { time: duration(now.uptime_seconds) })}</p>
    </section>
    ${running.length === 0 && html`<p class="card">${models.length ? t("status.idle") : t("status.empty")}
      ${" "}<a href="#/${models.length ? "models" : "downloads"}">${t(models.length ? "page.models" : "page.downloads")}</a></p>`}
    ${running.map((model) => html`<${Running} key=${model.id} model=${model} history=${history} />`)}
    <${Problems} lines=${now.problems} />
    <${Clients} models=${models} needsKey=${session.needs_key} />`;
}

function Problems({ lines }) {
  if (lines.length === 0) return null;
  return html`
    <section class="card" aria-label=${t("problems")}>
      <div class="row"><h2 class="wide">${t("problems")}</h2><a href="#/logs?level=warning">${t("page.logs")}</a></div>
      ${[...lines].reverse().map((line) => html`<${LogLine} line=${line} />`)}
    </section>`;
}

function Running({ model, history }) {
  const series = (name) => history.map((each) => each.engines[model.id]?.[name] ?? 0);
  // There are no numbers before the first request.
  const engine = history[history.length - 1].engines[model.id];
  const left = model.ttl_seconds && model.idle_seconds !== null ? Math.max(model.ttl_seconds - model.idle_seconds, 0) : null;
  const ready = model.engines.filter((each) => each.ready_seconds !== null);
  const room = ready.reduce((sum, each) => sum + each.max_concurrent_requests, 0);
  const busy = number(engine?.running ?? 0);
  const waiting = series("waiting");
  return html`
    <section class="card" aria-label=${model.id}>
      <div class="row"><h2 class="wide">${model.alias ?? model.id}</h2><span class="tag">${t(`type.${model.type}`)}</span>
        <span class=${model.loaded ? "good" : "warn"}>${t(`state.${model.state}`)}</span></div>
      ${model.reason && html`<p class="bad">${model.reason}</p>`}
      <dl class="grid courses">
        <${Course} name=${t("tokens_per_second")} values=${series("tokens_per_second")} shown=${(value) => number(value, 1)} />
        <${Course} name=${t("ttft")} values=${series("time_to_first_token")} shown=${(value) => (value ? `${number(value, 2)} s` : "–")} />
        <${Course} name=${t("requests")} values=${series("running").map((value, place) => value + waiting[place])} shown=${number} />
        <${Course} name=${t("kv")} values=${series("kv_bytes")} shown=${bytes} />
      </dl>
      <dl class="grid">
        ${ANSWERING.includes(model.type)
          ? html`<${Fact} name=${t("batch")}>${t("batch.of", { busy, room: number(room) })}</${Fact}>`
          : html`<${Fact} name=${t("running")}>${busy}</${Fact}>`}
        <${Fact} name=${t("waiting")}>${number(engine?.waiting ?? 0)}</${Fact}>
        <${Fact} name=${t("memory")}>${bytes(model.memory_bytes)}</${Fact}>
        <${Fact} name=${t("prefix")}>${bytes(engine?.prefix_bytes)}</${Fact}>
        <${Fact} name=${t("prefix_hits")}>${percent(engine?.prefix_hit_rate)}</${Fact}>
        <${Fact} name=${t("restarts")}>${number(model.engines.reduce((sum, each) => sum + each.restarts, 0))}</${Fact}>
        <${Fact} name=${t("uptime")}>${ready.map((each) => duration(each.ready_seconds)).join(" · ") || "–"}</${Fact}>
        <${Fact} name=${t("ttl")}>${left === null ? t("never") : duration(left)}</${Fact}>
      </dl>
    </section>`;
}

// What to type or paste elsewhere, for one model.
function Clients({ models, needsKey }) {
  const chatting = models.filter((model) => ANSWERING.includes(model.type) && !model.is_hidden);
  const [kind, setKind] = useState("curl");
  const [said, setSaid] = useState("");
  if (chatting.length === 0) return null;
  const model = (chatting.find((each) => each.is_default) ?? chatting.find((each) => each.loaded) ?? chatting[0]);
  const text = SNIPPETS[kind](model.alias ?? model.id, location.origin, needsKey ? "YOUR_KEY" : "none");
  const copy = async () => {
    await copyText(text);
    setSaid(t("copied"));
  };
  return html`
    <section class="card">
      <h2>${t("clients")}</h2>
      <div class="row">
        <select aria-label=${t("clients")} value=${kind} onChange=${(event) => { setKind(event.target.value); setSaid(""); }}>
          ${Object.keys(SNIPPETS).map((name) => html`<option value=${name}>${t(`client.${name}`)}</option>`)}
        </select>
        <button type="button" onClick=${copy}>${t("copy")}</button><span role="status">${said}</span>
      </div>
      <pre tabindex="0">${text}</pre>
    </section>`;
}
