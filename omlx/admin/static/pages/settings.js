// Global settings and those of each model, as the server's tables describe them.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { call } from "../api.js";
import { Doing, Problem } from "../parts.js";
import { t } from "../words.js";

const GLOBAL = "";

export function Settings({ now }) {
  const [schema, setSchema] = useState(null);
  const [model, setModel] = useState(GLOBAL);
  const [values, setValues] = useState(null);
  const [error, setError] = useState(null);
  const [said, setSaid] = useState("");
  const path = model === GLOBAL ? "/admin/api/settings" : `/admin/api/models/${encodeURI(model)}/settings`;
  const read = () => call("GET", path).then(setValues, setError);
  useEffect(() => { call("GET", "/admin/api/settings/schema").then(setSchema, setError); }, []);
  useEffect(() => { setValues(null); read(); }, [path]);
  if (!schema || !values) return html`<${Problem} error=${error} /><p class="quiet">${t("loading")}</p>`;
  const table = schema[model === GLOBAL ? "global" : "model"];
  const save = async (setting, value) => {
    setSaid("");
    try {
      setValues(await call("PATCH", path, { revision: values.revision, [setting.name]: value }));
      setSaid(t("saved", { name: setting.name, effect: t(`effect.${setting.effect}`) }));
    } catch (failure) {
      // Somebody else has changed something: what holds now is shown beside the error.
      if (failure.code === "stale_revision") read();
      throw failure;
    }
  };
  return html`
    <${Problem} error=${error} />
    <p role="status" class="good">${said}</p>
    <p><select aria-label=${t("settings.of")} value=${model} onChange=${(event) => { setModel(event.target.value); setSaid(""); }}>
      <option value=${GLOBAL}>${t("settings.global")}</option>
      ${now?.catalog.models.map((each) => html`<option value=${each.id}>${each.alias ?? each.id}</option>`)}
    </select></p>
    ${table.map((setting) => html`
      <${Row} key=${`${model}/${setting.name}`} setting=${setting} value=${values[setting.name]} save=${save} failed=${setError} />`)}`;
}

function Row({ setting, value, save, failed }) {
  const [typed, setTyped] = useState(shown(value));
  useEffect(() => setTyped(shown(value)), [value]);
  const isDangerous = setting.name === "trust_remote_code";
  const store = async () => {
    const wanted = parsed(setting, typed);
    if (isDangerous && wanted === true && !confirm(t("trust.warning"))) return;
    await save(setting, wanted);
  };
  const options = setting.form === "boolean" ? ["true", "false"] : setting.choices;
  const field = { id: setting.name, "aria-describedby": `${setting.name}-help` };
  const usual = setting.default === null ? t("unset") : JSON.stringify(setting.default);
  return html`
    <section class="card">
      <div class="row">
        <label class="wide" for=${setting.name}>${setting.name}</label>
        ${options.length
          ? html`<select ...${field} value=${typed} onChange=${(event) => setTyped(event.target.value)}>
              <option value="">${usual}</option>${options.map((each) => html`<option value=${each}>${each}</option>`)}</select>`
          : html`<input ...${field} value=${typed} placeholder=${usual} onInput=${(event) => setTyped(event.target.value)} />`}
        <${Doing} act=${store} failed=${failed} disabled=${typed === shown(value)} label="${t("save")} ${setting.name}">${t("save")}</${Doing}>
      </div>
      <p class="quiet" id="${setting.name}-help">${setting.help} ${t("felt", { effect: t(`effect.${setting.effect}`) })}</p>
    </section>`;
}

function shown(value) {
  return value === null || value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);
}

// What was typed as a JSON value; the server checks it. Nothing resets the setting.
function parsed(setting, typed) {
  if (typed === "") return null;
  if (["integer", "number", "boolean", "object"].includes(setting.form) || typed.startsWith("[") || /^\d+$/.test(typed)) {
    try {
      return JSON.parse(typed);
    } catch {
      return typed;
    }
  }
  return typed;
}
