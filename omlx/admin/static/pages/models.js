// Every model that was found, and the folders that can't be served.

import { html, useState } from "../vendor/htm-preact.js";
import { call } from "../api.js";
import { Doing, Fact, Problem } from "../parts.js";
import { bytes, number, t } from "../words.js";

export function Models({ now }) {
  const [error, setError] = useState(null);
  if (!now) return html`<p class="quiet">${t("loading")}</p>`;
  const { models, skipped } = now.catalog;
  return html`
    <${Problem} error=${error} />
    <p><${Doing} act=${() => call("POST", "/admin/api/models/refresh")} failed=${setError}>${t("refresh")}</${Doing}></p>
    ${models.length === 0 && html`<p class="card">${t("status.empty")} <a href="#/downloads">${t("page.downloads")}</a></p>`}
    ${models.map((model) => html`<${Model} key=${model.id} model=${model} failed=${setError} />`)}
    ${skipped.length > 0 && html`
      <section class="card">
        <h2>${t("skipped")}</h2>
        <div class="scroll"><table>
          <thead><tr><th>${t("folder")}</th><th>${t("reason")}</th></tr></thead>
          <tbody>${skipped.map((each) => html`<tr key=${each.path}><td>${each.path}</td><td>${each.reason}</td></tr>`)}</tbody>
        </table></div>
      </section>`}`;
}

function Model({ model, failed }) {
  const path = `/v1/models/${encodeURI(model.id)}`;
  const own = `/admin/api/models/${encodeURI(model.id)}`;
  const isUp = model.engines.length > 0;
  const turn = async (setting, to) => {
    const { revision } = await call("GET", `${own}/settings`);
    await call("PATCH", `${own}/settings`, { revision, [setting]: to || null });
  };
  const toggle = (setting, on, off) => {
    const word = t(model[setting] ? off : on);
    return html`<${Doing} act=${() => turn(setting, !model[setting])} failed=${failed} label="${word} ${model.id}">${word}</${Doing}>`;
  };
  const remove = async () => {
    if (confirm(t("delete.sure", { name: model.id, size: bytes(model.size_bytes), path: model.path }))) await call("DELETE", own);
  };
  return html`
    <section class="card" aria-label=${model.id}>
      <div class="row"><h2 class="wide">${model.alias ? `${model.alias} (${model.id})` : model.id}</h2>
        <span class="tag">${t(`type.${model.type}`)}</span>
        ${model.is_default && html`<span class="tag">${t("default")}</span>`}
        ${model.is_pinned && html`<span class="tag">${t("pinned")}</span>`}
        ${model.is_hidden && html`<span class="tag">${t("hidden")}</span>`}
        <span class=${model.loaded ? "good" : "quiet"}>${t(`state.${model.state}`)}</span></div>
      ${model.reason && html`<p class="bad">${model.reason}</p>`}
      <dl class="grid">
        <${Fact} name=${t("size")}>${bytes(model.size_bytes)}</${Fact}>
        <${Fact} name=${t("memory.needed")}>${bytes(model.estimated_bytes)}</${Fact}>
        <${Fact} name=${t("quantization")}>${model.quantization ?? "–"}</${Fact}>
        <${Fact} name=${t("context")}>${number(model.context_length)}</${Fact}>
        <${Fact} name=${t("architecture")}>${model.architecture}</${Fact}>
      </dl>
      <p class="quiet">${model.path}</p>
      <div class="row">
        ${isUp
          ? html`<${Doing} act=${() => call("POST", `${path}/unload`)} failed=${failed} label="${t("unload")} ${model.id}">${t("unload")}</${Doing}>`
          : html`<${Doing} main act=${() => call("POST", `${path}/load`)} failed=${failed} label="${t("load")} ${model.id}">${t("load")}</${Doing}>`}
        ${toggle("is_pinned", "pin", "pin.not")}
        ${toggle("is_default", "make_default", "make_default.not")}
        ${toggle("is_hidden", "hide", "hide.not")}
        ${!isUp && html`<${Doing} act=${remove} failed=${failed} label="${t("delete")} ${model.id}">${t("delete")}</${Doing}>`}
      </div>
    </section>`;
}
