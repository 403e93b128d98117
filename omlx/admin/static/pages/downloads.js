// Models from Hugging Face and ModelScope: looked for, read about, fetched.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { call, follow } from "../api.js";
import { Doing, Fact, Problem } from "../parts.js";
import { bytes, duration, number, t } from "../words.js";

const PLACES = { hf: "Hugging Face", ms: "ModelScope" };
const SORTS = ["downloads", "likes", "updated"];

export function Downloads({ now }) {
  const [place, setPlace] = useState("hf");
  const [error, setError] = useState(null);
  const [found, setFound] = useState(null);
  const [card, setCard] = useState(null);
  const [asked, setAsked] = useState({ q: "", sort: "downloads", only_mlx: true });
  const tasks = useTasks(place);
  const root = `/admin/api/${place}`;
  const choose = (change) => setAsked((before) => ({ ...before, ...change }));
  const search = async () => {
    setCard(null);
    setFound(await call("GET", `${root}/search?${new URLSearchParams(asked)}`));
  };
  const show = async (model) => setCard(await call("GET", `${root}/model-info?${new URLSearchParams({ model })}`));
  const fetchModel = (model) => call("POST", `${root}/download`, { model });
  const turn = (event) => {
    setPlace(event.target.value);
    setFound(null);
    setCard(null);
  };
  return html`
    <${Problem} error=${error} />
    ${tasks.length > 0 && html`
      <section class="card" aria-label=${t("downloads")}>
        <h2>${t("downloads")}</h2>
        ${[...tasks].reverse().map((task) => html`<${Task} key=${task.id} root=${root} task=${task} failed=${setError} />`)}
      </section>`}
    <section class="card">
      <form class="row" role="search" onSubmit=${(event) => event.preventDefault()}>
        <select aria-label=${t("source")} value=${place} onChange=${turn}>
          ${Object.entries(PLACES).map(([name, label]) => html`<option value=${name}>${label}</option>`)}
        </select>
        <input class="wide" type="search" aria-label=${t("search.words")} placeholder=${t("search.words")} value=${asked.q}
          onInput=${(event) => choose({ q: event.target.value })} />
        <select aria-label=${t("sort")} value=${asked.sort} onChange=${(event) => choose({ sort: event.target.value })}>
          ${SORTS.map((each) => html`<option value=${each}>${t(`sort.${each}`)}</option>`)}
        </select>
        <label><input type="checkbox" checked=${asked.only_mlx} onChange=${(event) => choose({ only_mlx: event.target.checked })} />
          ${" "}${t("only_mlx")}</label>
        <${Doing} main act=${search} failed=${setError}>${t("search")}</${Doing}>
      </form>
      <p class="quiet"><a href="#/settings?${place}_endpoint">${t("mirror")}</a></p>
      ${found && html`<p class="quiet" role="status">${t("found", { count: number(found.models.length), endpoint: found.endpoint })}</p>`}
      ${found?.models.map((model) => html`
        <div class="row" key=${model.repository}>
          <span class="wide">${model.repository}</span>
          <span class="quiet">↓ ${number(model.downloads)} · ♥ ${number(model.likes)}</span>
          ${model.is_gated && html`<span class="tag">${t("gated")}</span>`}
          <${Doing} act=${() => show(model.repository)} failed=${setError} label="${t("details")} ${model.repository}">${t("details")}</${Doing}>
          <${Doing} main act=${() => fetchModel(model.repository)} failed=${setError}
            label="${t("fetch")} ${model.repository}">${t("fetch")}</${Doing}>
        </div>`)}
    </section>
    ${card && html`<${Card} card=${card} budget=${now?.catalog.memory.budget_bytes} />`}`;
}

function useTasks(place) {
  const [tasks, setTasks] = useState([]);
  useEffect(() => {
    setTasks([]);
    return follow(`/admin/api/${place}/events`, (news) => setTasks(news.tasks));
  }, [place]);
  return tasks;
}

function Task({ root, task, failed }) {
  const { progress, state } = task;
  const change = (verb) => call("POST", `${root}/${verb}/${task.id}`);
  const button = (verb) => html`<${Doing} act=${() => change(verb)} failed=${failed} label="${t(`task.${verb}`)} ${task.repository}">
    ${t(`task.${verb}`)}</${Doing}>`;
  const isActive = ["queued", "downloading"].includes(state);
  return html`
    <div>
      <div class="row"><span class="wide">${task.repository}</span>
        <span class=${state === "failed" ? "bad" : state === "done" ? "good" : "quiet"}>${t(`task.state.${state}`)}</span>
        ${isActive && button("pause")}
        ${["paused", "failed", "cancelled"].includes(state) && button("retry")}
        ${(isActive || state === "paused" || state === "failed") && button("cancel")}
        ${["done", "cancelled"].includes(state) && html`<${Doing} act=${() => call("DELETE", `${root}/tasks/${task.id}`)} failed=${failed}
          label="${t("task.forget")} ${task.repository}">${t("task.forget")}</${Doing}>`}</div>
      ${progress && state !== "done" && html`
        <progress max=${progress.total || 1} value=${progress.done} aria-label=${task.repository} />
        <p class="quiet">${bytes(progress.done)} / ${bytes(progress.total)} · ${progress.files_done}/${progress.files_total} ${t("files")}
          ${state === "downloading" && progress.seconds_left !== null
            ? ` · ${bytes(progress.bytes_per_second)}/s · ${t("time_left", { time: duration(progress.seconds_left) })}` : ""}</p>`}
      ${task.error && html`<p class="bad">${task.error}</p>`}
      ${!task.error && task.note && html`<p class="warn">${task.note}</p>`}
    </div>`;
}

function Card({ card, budget }) {
  const size = card.files.filter((file) => file.is_fetched).reduce((sum, file) => sum + file.size, 0);
  const fits = card.memory_bytes === null || !budget ? null : card.memory_bytes <= budget;
  return html`
    <section class="card" aria-label=${card.repository}>
      <h2>${card.repository}</h2>
      ${card.problem && html`<p class="bad">${card.problem}</p>`}
      <dl class="grid">
        <${Fact} name=${t("size")}>${bytes(size)}</${Fact}>
        <${Fact} name=${t("memory.needed")}><span class=${fits === null ? "" : fits ? "good" : "bad"}>
          ${bytes(card.memory_bytes)}${fits === null ? "" : ` · ${t(fits ? "fits" : "fits.not")}`}</span></${Fact}>
        <${Fact} name=${t("license")}>${card.license ?? "–"}</${Fact}>
      </dl>
      <details><summary>${t("files")} (${card.files.length})</summary>
        <div class="scroll"><table><tbody>
          ${card.files.map((file) => html`<tr key=${file.path}><td>${file.path}</td><td>${bytes(file.size)}</td>
            <td class="quiet">${file.is_fetched ? "" : t("left_out")}</td></tr>`)}
        </tbody></table></div></details>
      <details open><summary>${t("readme")}</summary><pre tabindex="0">${card.text}</pre></details>
    </section>`;
}
