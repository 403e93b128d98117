// Who may use the server: the password, and the API keys with their limits and what they have used.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { call } from "../api.js";
import { copyText } from "../clipboard.js";
import { Doing, Fact, Problem } from "../parts.js";
import { signOut } from "../session.js";
import { number, t } from "../words.js";

const KEYS = "/admin/api/keys";
const LIMITS = ["requests_per_minute", "concurrent_requests", "tokens_per_day"];

export function Access({ session, renew }) {
  const [keys, setKeys] = useState(null);
  const [made, setMade] = useState(null);
  const [error, setError] = useState(null);
  const read = () => call("GET", KEYS).then((found) => setKeys(found.keys), setError);
  useEffect(() => { read(); }, []);
  const changed = async () => {
    await read();
    await renew();
  };
  return html`
    <${Problem} error=${error} />
    <p class="card">${t(session.needs_key ? "access.keys_needed" : "access.open")}
      ${" "}${t(session.needs_sign_in ? "access.sign_in_needed" : "access.admin_open")}</p>
    <${Password} session=${session} renew=${renew} failed=${setError} />
    <${NewKey} failed=${setError} take=${(answer) => { setMade(answer); return changed(); }} />
    ${made && html`<${Made} made=${made} />`}
    ${keys?.map((key) => html`<${Key} key=${key.id} of=${key} changed=${changed} failed=${setError} />`)}`;
}

function Password({ session, renew, failed }) {
  const [current, setCurrent] = useState("");
  const [password, setPassword] = useState("");
  const [said, setSaid] = useState("");
  const change = async (wanted) => {
    setSaid("");
    await call("PUT", "/admin/api/password", { password: wanted, current });
    setCurrent("");
    setPassword("");
    setSaid(t(wanted === null ? "password.gone" : "password.set"));
    await renew();
  };
  const leave = async () => {
    await signOut();
    await renew();
  };
  const field = (id, value, set, kind) => html`
    <label for=${id}>${t(`password.${id}`)}</label>
    <input id=${id} type="password" autocomplete=${kind} value=${value} onInput=${(event) => set(event.target.value)} />`;
  return html`
    <form class="card" aria-label=${t("password")} onSubmit=${(event) => event.preventDefault()}>
      <h2>${t("password")}</h2>
      <input hidden readonly autocomplete="username" value="admin" />
      <p role="status" class="good">${said}</p>
      <div class="row">
        ${session.has_password && field("present", current, setCurrent, "current-password")}
        ${field("new", password, setPassword, "new-password")}
        <${Doing} main submits act=${() => change(password)} failed=${failed} disabled=${!password}>${t("password.save")}</${Doing}>
        ${session.has_password && html`
          <${Doing} act=${() => change(null)} failed=${failed} disabled=${!current}>${t("password.drop")}</${Doing}>`}
        ${session.needs_sign_in && session.is_signed_in && html`
          <${Doing} act=${leave} failed=${failed}>${t("sign_out")}</${Doing}>`}
      </div>
    </form>`;
}

function NewKey({ take, failed }) {
  const [name, setName] = useState("");
  const [isAdmin, setIsAdmin] = useState(false);
  const make = async () => {
    await take(await call("POST", KEYS, { name, is_admin: isAdmin }));
    setName("");
    setIsAdmin(false);
  };
  return html`
    <form class="card" aria-label=${t("key.new")} onSubmit=${(event) => event.preventDefault()}>
      <h2>${t("key.new")}</h2>
      <div class="row">
        <label for="key-name">${t("key.name")}</label>
        <input id="key-name" class="wide" maxlength="64" value=${name} onInput=${(event) => setName(event.target.value)} />
        <label><input type="checkbox" checked=${isAdmin} onChange=${(event) => setIsAdmin(event.target.checked)} /> ${t("key.admin")}</label>
        <${Doing} main submits act=${make} failed=${failed} disabled=${!name.trim()}>${t("key.make")}</${Doing}>
      </div>
    </form>`;
}

function Made({ made }) {
  const [said, setSaid] = useState("");
  const copy = async () => {
    await copyText(made.secret);
    setSaid(t("copied"));
  };
  return html`
    <section class="card" role="status" aria-label=${t("key.made", { name: made.key.name })}>
      <p><strong>${t("key.made", { name: made.key.name })}</strong> ${t("key.once")}</p>
      <pre tabindex="0">${made.secret}</pre>
      <div class="row"><button type="button" onClick=${copy}>${t("copy")}</button><span>${said}</span></div>
    </section>`;
}

function Key({ of: key, changed, failed }) {
  const path = `${KEYS}/${encodeURIComponent(key.id)}`;
  const { used } = key;
  const act = (method, end = "") => async () => {
    await call(method, `${path}${end}`);
    await changed();
  };
  const revoke = async () => {
    if (confirm(t("key.revoke.sure", { name: key.name }))) await act("POST", "/revoke")();
  };
  return html`
    <section class="card" aria-label=${key.name}>
      <div class="row"><h2 class="wide">${key.name}</h2><code>${key.hint}</code>
        <span class="tag">${t(key.is_admin ? "key.admin" : "key.user")}</span>
        ${key.revoked && html`<span class="bad">${t("key.revoked")}</span>`}</div>
      <dl class="grid">
        <${Fact} name=${t("key.requests")}>${number(used.requests)}</${Fact}>
        <${Fact} name=${t("key.prompt_tokens")}>${number(used.prompt_tokens)}</${Fact}>
        <${Fact} name=${t("key.completion_tokens")}>${number(used.completion_tokens)}</${Fact}>
        <${Fact} name=${t("key.tokens_today")}>${number(used.tokens_today)}</${Fact}>
        <${Fact} name=${t("key.last")}>${used.last ? new Date(used.last).toLocaleString() : "–"}</${Fact}>
      </dl>
      ${key.from_option ? html`<p class="quiet">${t("key.from_option")}</p>` : html`
        ${!key.revoked && html`<${Limits} of=${key} path=${path} changed=${changed} failed=${failed} />`}
        <div class="row">${key.revoked
          ? html`<${Doing} act=${act("DELETE")} failed=${failed} label="${t("key.forget")} ${key.name}">${t("key.forget")}</${Doing}>`
          : html`<${Doing} act=${revoke} failed=${failed} label="${t("key.revoke")} ${key.name}">${t("key.revoke")}</${Doing}>`}</div>`}
    </section>`;
}

function Limits({ of: key, path, changed, failed }) {
  const [typed, setTyped] = useState(Object.fromEntries(LIMITS.map((name) => [name, key.limits[name] ?? ""])));
  const save = async () => {
    const limits = Object.fromEntries(LIMITS.map((name) => [name, typed[name] === "" ? null : Number(typed[name])]));
    await call("PUT", `${path}/limits`, limits);
    await changed();
  };
  const same = LIMITS.every((name) => String(key.limits[name] ?? "") === String(typed[name]));
  return html`
    <div class="row">
      ${LIMITS.map((name) => html`<label key=${name}>${t(`limit.${name}`)}
        <input type="number" min="1" value=${typed[name]} placeholder="∞"
          onInput=${(event) => setTyped({ ...typed, [name]: event.target.value })} /></label>`)}
      <${Doing} act=${save} failed=${failed} disabled=${same} label="${t("limit.save")} ${key.name}">${t("limit.save")}</${Doing}>
    </div>`;
}
