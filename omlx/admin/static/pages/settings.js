// Global settings and those of each model, as the server's tables describe them.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { call } from "../api.js";
import { Doing, Problem } from "../parts.js";
import { isTaken, parsed, shown } from "../setting.js";
import { t } from "../words.js";

const GLOBAL = "";

export function Settings({ now }) {
  const [schema, setSchema] = useState(null);
  const [model, setModel] = useState(GLOBAL);
  const [wanted, setWanted] = useState(() => decodeURIComponent(location.hash.split("?")[1] ?? ""));
  const [values, setValues] = useState(null);
  const [error, setError] = useState(null);
  const [said, setSaid] = useState("");
  const path = model === GLOBAL ? "/admin/api/settings" : `/admin/api/models/${encodeURI(model)}/settings`;
  const read = () => call("GET", path).then(setValues, setError);
  useEffect(() => { call("GET", "/admin/api/settings/schema").then(setSchema, setError); }, []);
  useEffect(() => { setValues(null); read(); }, [path]);
  if (!schema || !values) return html`<${Problem} error=${error} /><p class="quiet">${t("loading")}</p>`;
  const table = schema[model === GLOBAL ? "global" : "model"];
  const words = wanted.toLowerCase().split(/\s+/);
  const found = table.filter(({ name, help }) => words.every((word) => `${name} ${help}`.toLowerCase().includes(word)));
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
    <div class="row"><select aria-label=${t("settings.of")} value=${model} onChange=${(event) => { setModel(event.target.value); setSaid(""); }}>
      <option value=${GLOBAL}>${t("settings.global")}</option>
      ${now?.catalog.models.map((each) => html`<option value=${each.id}>${each.alias ?? each.id}</option>`)}
    </select>
    <input class="wide" type="search" aria-label=${t("settings.find")} placeholder=${t("settings.find")} value=${wanted}
      onInput=${(event) => setWanted(event.target.value)} /></div>
    ${found.map((setting) => html`
      <${Row} key=${`${model}/${setting.name}`} setting=${setting} value=${values[setting.name]} save=${save} failed=${setError} />`)}`;
}

function Row({ setting, value, save, failed }) {
  const [typed, setTyped] = useState(shown(value));
  useEffect(() => setTyped(shown(value)), [value]);
  const { name } = setting;
  const isGood = isTaken(setting, typed);
  const store = async () => {
    const wanted = parsed(setting, typed);
    if (name === "trust_remote_code" && wanted === true && !confirm(t("trust.warning"))) return;
    await save(setting, wanted);
  };
  return html`
    <section class="card">
      <div class="row">
        <label class="wide" for=${name}>${name}</label>
        <${Field} setting=${setting} typed=${typed} type=${setTyped} isGood=${isGood} />
        <${Doing} act=${store} failed=${failed} disabled=${typed === shown(value) || !isGood} label="${t("save")} ${name}">${t("save")}</${Doing}>
      </div>
      ${!isGood && html`<p class="bad" role="alert" id="${name}-problem">${t("takes", { name, takes: setting.takes })}</p>`}
      <p class="quiet" id="${name}-help">${setting.help} ${t("felt", { effect: t(`effect.${setting.effect}`) })}</p>
    </section>`;
}

function Field({ setting, typed, type, isGood }) {
  const { name, form } = setting;
  const options = form === "boolean" ? ["true", "false"] : setting.choices;
  const usual = setting.default === null ? t("unset") : JSON.stringify(setting.default);
  const field = {
    id: name, "aria-describedby": isGood ? `${name}-help` : `${name}-problem ${name}-help`, "aria-invalid": !isGood, placeholder: usual,
    onInput: (event) => type(event.target.value),
  };
  if (options.length) {
    return html`<select ...${field} value=${typed}><option value="">${usual}</option>
      ${options.map((each) => html`<option value=${each}>${each}</option>`)}</select>`;
  }
  if (name === "chat_template" || form === "object") return html`<textarea ...${field} class="wide" rows="2" value=${typed} />`;
  return html`<input ...${field} value=${typed} />`;
}
