// How fast a model is here: measured by the server, as a table and as charts, and earlier runs beside it.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { call, follow } from "../api.js";
import { Chart } from "../chart.js";
import { Doing, Fact, Problem } from "../parts.js";
import { duration, number, percent, t } from "../words.js";

const ROOT = "/admin/api/benchmarks";
const LENGTHS = [128, 512, 2048, 8192];
const BATCHES = [1, 2, 4, 8, 16];
const BUSY = 0.5; // of the cores
const COLUMNS = [
  ["prefill_tokens_per_second", 0], ["ttft", 2], ["hit_tokens_per_second", 0], ["hit_ttft", 2], ["cached_tokens", 0],
  ["decode_tokens_per_second", 1], ["decode_tokens_per_second_each", 1],
];

export function Benchmark({ now }) {
  const [state, setState] = useState(null);
  const [error, setError] = useState(null);
  const [asked, setAsked] = useState({ model: "", lengths: [128, 512], batches: [1, 4] });
  const [chosen, setChosen] = useState(null);
  const [other, setOther] = useState("");
  useEffect(() => follow(`${ROOT}/events`, setState), []);
  const runs = state?.runs.filter((run) => run.state !== "running") ?? [];
  const running = state?.running;
  const known = runs.some((run) => run.id === chosen) ? chosen : running?.id ?? runs[0]?.id;
  const kept = useRun(known === running?.id ? null : known, setError);
  const compared = useRun(runs.some((run) => run.id === other) && other !== known ? other : null, setError);
  if (!now || !state) return html`<${Problem} error=${error} /><p class="quiet">${t("loading")}</p>`;
  const models = now.catalog.models.filter((each) => ["llm", "vlm", "ocr"].includes(each.type));
  const model = models.find((each) => each.id === asked.model) ?? models.find((each) => each.is_default) ?? models[0];
  const run = known === running?.id ? running : kept;
  const begin = async () => {
    await call("POST", ROOT, { ...asked, model: model.id });
    setChosen(null);
  };
  const remove = async (id) => {
    if (confirm(t("bench.sure"))) await call("DELETE", `${ROOT}/${id}`);
  };
  return html`
    <${Problem} error=${error} />
    ${!model && html`<p class="card">${t("status.empty")} <a href="#/downloads">${t("page.downloads")}</a></p>`}
    ${model && html`
      <section class="card">
        <div class="row">
          <select aria-label=${t("chat.model")} value=${model.id} onChange=${(event) => setAsked({ ...asked, model: event.target.value })}>
            ${models.map((each) => html`<option value=${each.id}>${each.alias ?? each.id}</option>`)}
          </select>
          <${Doing} main act=${begin} failed=${setError} disabled=${Boolean(running) || !asked.lengths.length || !asked.batches.length}>
            ${t("bench.measure")}</${Doing}>
        </div>
        <${Choices} name="lengths" all=${LENGTHS} asked=${asked} choose=${setAsked} />
        <${Choices} name="batches" all=${BATCHES} asked=${asked} choose=${setAsked} />
        <p class="quiet">${t("bench.about")}</p>
      </section>`}
    ${running && html`<${Running} run=${running} failed=${setError} />`}
    ${run && (run !== running || run.cells.length > 0) && html`<${Run} key=${run.id} run=${run} compared=${compared} />`}
    ${runs.length > 0 && html`
      <section class="card" aria-label=${t("bench.runs")}>
        <h2>${t("bench.runs")}</h2>
        ${runs.length > 1 && html`<div class="row">${t("bench.compare")}
          <select class="wide" aria-label=${t("bench.compare")} value=${other} onChange=${(event) => setOther(event.target.value)}>
            <option value="">–</option>
            ${runs.filter((each) => each.id !== known).map((each) => html`<option value=${each.id}>${named(each)}</option>`)}
          </select></div>`}
        ${runs.map((each) => html`
          <div class="row" key=${each.id}>
            <span class="wide">${named(each)}</span>
            <span class=${each.state === "done" ? "good" : each.state === "failed" ? "bad" : "quiet"}>${t(`task.state.${each.state}`)}</span>
            <button type="button" aria-pressed=${each.id === known} aria-label="${t("bench.show")} ${named(each)}"
              onClick=${() => setChosen(each.id)}>${t("bench.show")}</button>
            <a href="${ROOT}/${each.id}" download="omlx-benchmark-${each.id}.json" aria-label="${t("bench.export")} ${named(each)}">${t("bench.export")}</a>
            <${Doing} act=${() => remove(each.id)} failed=${setError} label="${t("delete")} ${named(each)}">${t("delete")}</${Doing}>
          </div>`)}
      </section>`}`;
}

function named(run) {
  return `${run.model.id} · ${new Date(1000 * run.started).toLocaleString(document.documentElement.lang)}`;
}

// A run that has ended, whole, once it is there.
function useRun(id, failed) {
  const [run, setRun] = useState(null);
  useEffect(() => {
    let wanted = true;
    if (id) call("GET", `${ROOT}/${id}`).then((found) => wanted && setRun(found), (error) => wanted && failed(error));
    return () => { wanted = false; };
  }, [id]);
  return id && run?.id === id ? run : null;
}

function Choices({ name, all, asked, choose }) {
  const turn = (value, on) => choose({ ...asked, [name]: all.filter((each) => (each === value ? on : asked[name].includes(each))) });
  return html`
    <fieldset class="row"><legend>${t(`bench.${name}`)}</legend>
      ${all.map((value) => html`<label key=${value}><input type="checkbox" checked=${asked[name].includes(value)}
        onChange=${(event) => turn(value, event.target.checked)} />${number(value)}</label>`)}
    </fieldset>`;
}

function Running({ run, failed }) {
  const { size, repetition, done, total, seconds_left: left } = run.progress;
  const at = { length: number(size?.length), batch: number(size?.batch), repetition, of: run.plan.repetitions };
  return html`
    <section class="card" aria-label=${t("running")}>
      <div class="row"><h2 class="wide">${run.model.id}</h2>
        <${Doing} act=${() => call("POST", `${ROOT}/${run.id}/cancel`)} failed=${failed}>${t("task.cancel")}</${Doing}></div>
      <progress max=${total || 1} value=${done} aria-label=${run.model.id} />
      <p class="quiet">${size ? t(repetition ? "bench.now" : "bench.warming", at) : t("bench.preparing")}
        ${left === null ? "" : ` · ${t("time_left", { time: duration(left) })}`}</p>
    </section>`;
}

function Run({ run, compared }) {
  const { machine, cells } = run;
  const device = machine && [machine.device, machine.gpu ?? machine.cpu].filter(Boolean).join(", ");
  return html`
    <section class="card" aria-label=${t("bench.result")}>
      <h2>${named(run)}</h2>
      ${run.error && html`<p class="bad">${run.error}</p>`}
      ${run.other_requests > 0 && html`<p class="warn">${t("bench.others", { count: number(run.other_requests) })}</p>`}
      ${machine?.load > BUSY && html`<p class="quiet">${t("bench.busy", { load: percent(Math.min(machine.load, 1)) })}</p>`}
      <dl class="grid">
        <${Fact} name=${t("quantization")}>${run.model.quantization ?? "–"}</${Fact}>
        ${machine && html`<${Fact} name=${t("bench.device")}>${device}</${Fact}>
          <${Fact} name=${t("bench.versions")}>oMLX ${machine.omlx}, MLX ${machine.mlx}, mlx-lm ${machine["mlx-lm"]}</${Fact}>`}
        <${Fact} name=${t("bench.plan")}>${t("bench.planned", { output: run.plan.output_tokens, of: run.plan.repetitions })}</${Fact}>
      </dl>
      ${cells.length > 0 && html`
        ${compared && html`<p class="quiet">${t("bench.ratio", { name: named(compared) })}</p>`}
        <div class="scroll" tabindex="0" role="region" aria-label=${t("bench.figures")}><table class="numbers">
          <thead>
            <tr><td colspan="2" /><th colspan="2" scope="colgroup">${t("bench.cold")}</th><th colspan="3" scope="colgroup">${t("bench.hit")}</th>
              <th colspan="2" scope="colgroup">${t("bench.decode")}</th></tr>
            <tr>${["prompt", "batch", "speed", "first", "speed", "first", "cached", "speed", "each"].map((name) => html`
              <th scope="col">${t(`bench.column.${name}`)}</th>`)}</tr>
          </thead>
          <tbody>${cells.map((cell) => html`<${Cell} key="${cell.length} ${cell.batch}" cell=${cell} compared=${compared} />`)}</tbody>
        </table></div>
        <${Charts} cells=${cells.filter((cell) => cell.figures)} />`}
    </section>`;
}

function Cell({ cell, compared }) {
  const { length, batch, figures, error } = cell;
  if (error) return html`<tr><th scope="row">${number(length)}</th><td>${number(batch)}</td><td colspan="7" class="bad reason">${error}</td></tr>`;
  const before = compared?.cells.find((each) => each.length === length && each.batch === batch)?.figures;
  return html`<tr><th scope="row">${number(figures.prompt_tokens)}</th><td>${number(batch)}</td>
    ${COLUMNS.map(([name, digits]) => html`<td>${number(figures[name], digits, digits)}
      ${before?.[name] ? html` <span class="quiet">×${number(figures[name] / before[name], 2)}</span>` : ""}</td>`)}</tr>`;
}

function Charts({ cells }) {
  if (cells.length === 0) return null;
  const lengths = [...new Set(cells.map((cell) => cell.length))];
  const batches = [...new Set(cells.map((cell) => cell.batch))].sort((one, two) => one - two);
  const values = (name, places) => places.map(([length, batch]) => cells.find((each) => each.length === length && each.batch === batch)?.figures[name]);
  const decode = lengths.map((length, place) => ({
    name: t("bench.tokens", { count: number(length) }), place,
    values: values("decode_tokens_per_second", batches.map((batch) => [length, batch])),
  }));
  const colours = batches.map((batch, place) => ({ name: t("bench.at_once", { count: number(batch) }), place, batch }));
  const dashes = [{ name: t("bench.cold"), kind: "prefill" }, { name: t("bench.hit"), kind: "hit", dashed: true }];
  const prefill = dashes.flatMap(({ name, kind, dashed }) => colours.map((each) => ({
    name: `${each.name}, ${name}`, place: each.place, dashed,
    values: values(`${kind}_tokens_per_second`, lengths.map((length) => [length, each.batch])),
  })));
  return html`<div class="charts">
    <${Chart} title=${t("bench.chart.decode")} across=${t("bench.batches")} marks=${batches} series=${decode} />
    <${Chart} title=${t("bench.chart.prefill")} across=${t("bench.lengths")} marks=${lengths} series=${prefill}
      keys=${[...colours, ...dashes]} logarithmic />
  </div>`;
}
