// Every model that was found, and the folders that can't be served.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { call } from "../api.js";
import { Doing, Fact, Problem } from "../parts.js";
import { bytes, duration, number, t } from "../words.js";

export function Models({ now, history }) {
  const [error, setError] = useState(null);
  const [wanted, setWanted] = useState("");
  if (!now) return html`<p class="quiet">${t("loading")}</p>`;
  const { models, skipped } = now.catalog;
  return html`
    <${Problem} error=${error} />
    <div class="row">
      <input class="wide" type="search" aria-label=${t("models.find")} placeholder=${t("models.find")} value=${wanted}
        onInput=${(event) => setWanted(event.target.value)} />
      <${Doing} act=${() => call("POST", "/admin/api/models/refresh")} failed=${setError}>${t("refresh")}</${Doing}></div>
    ${models.length === 0 && html`<p class="card">${t("status.empty")} <a href="#/downloads">${t("page.downloads")}</a></p>`}
    ${models.filter((model) => `${model.id} ${model.alias ?? ""}`.toLowerCase().includes(wanted.toLowerCase())).map((model) => html`
      <${Model} key=${model.id} model=${model} loading=${secondsLoading(history, model.id)} failed=${setError} />`)}
    ${skipped.length > 0 && html`
      <section class="card">
        <h2>${t("skipped")}</h2>
        <div class="scroll"><table>
          <thead><tr><th>${t("folder")}</th><th>${t("reason")}</th></tr></thead>
          <tbody>${skipped.map((each) => html`<tr key=${each.path}><td>${each.path}</td><td>${each.reason}</td></tr>`)}</tbody>
        </table></div>
      </section>`}`;
}

// For how long a model has been loading, as far as this page has seen it; a second each.
function secondsLoading(history, id) {
  const isLoading = (seen) => seen.catalog.models.some((model) => model.id === id && model.state === "loading");
  return history.length - 1 - history.findLastIndex((seen) => !isLoading(seen));
}

function Model({ model, loading, failed }) {
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
      ${model.state === "loading" && html`<progress aria-label="${t("state.loading")} ${model.id}" />
        <p class="quiet">${t("loading.since", { time: duration(loading) })}</p>`}
      ${model.reason && html`<p class="bad">${model.reason}</p>`}
      <dl class="grid">
        <${Fact} name=${t("size")}>${bytes(model.size_bytes)}</${Fact}>
        <${Fact} name=${t("memory.needed")}>${bytes(model.estimated_bytes)}</${Fact}>
        <${Fact} name=${t("quantization")}>${model.quantization ?? "–"}</${Fact}>
        <${Fact} name=${t("context")}>${number(model.context_length)}</${Fact}>
        <${Fact} name=${t("architecture")}>${model.architecture}</${Fact}>
      </dl>
      <p class="quiet">${model.path}</p>
      <${Alias} model=${model} turn=${turn} failed=${failed} />
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

function Alias({ model, turn, failed }) {
  const [typed, setTyped] = useState(model.alias ?? "");
  useEffect(() => setTyped(model.alias ?? ""), [model.alias]);
  const id = `alias-${model.id}`;
  return html`
    <div class="row"><label for=${id}>${t("alias")}</label>
      <input id=${id} value=${typed} onInput=${(event) => setTyped(event.target.value)} />
      <${Doing} act=${() => turn("model_alias", typed.trim() || null)} failed=${failed} disabled=${typed === (model.alias ?? "")}
        label="${t("alias.save")} ${model.id}">${t("alias.save")}</${Doing}></div>`;
}
