// Whether somebody is signed in here, and the form for that.

import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { call, NOT_SIGNED_IN } from "./api.js";
import { Doing, Problem } from "./parts.js";
import { t } from "./words.js";

const PATH = "/admin/api/session";

export function signIn(secret = "") {
  return call("POST", PATH, { secret });
}

export function signOut() {
  return call("DELETE", PATH);
}

// What the server says of this browser's session; null until it has. Where nothing is asked for, it is signed in by itself, so that
// models answer its chat though they ask others for a key. `renew` has it asked again.
export function useSession() {
  const [session, setSession] = useState(null);
  const [error, setError] = useState(null);
  const renew = async () => {
    try {
      const found = await call("GET", PATH);
      setSession(found.needs_sign_in || found.is_signed_in ? found : await signIn());
      setError(null);
    } catch (failure) {
      setError(failure);
    }
  };
  useEffect(() => {
    renew();
    addEventListener(NOT_SIGNED_IN, renew);
    return () => removeEventListener(NOT_SIGNED_IN, renew);
  }, []);
  return { session, setSession, error, renew };
}

export function SignIn({ take }) {
  const [secret, setSecret] = useState("");
  const [error, setError] = useState(null);
  const enter = async () => take(await signIn(secret));
  return html`
    <form class="card" onSubmit=${(event) => event.preventDefault()}>
      <${Problem} error=${error} />
      <p><label for="secret">${t("secret")}</label></p>
      <div class="row">
        <input hidden readonly autocomplete="username" value="admin" />
        <input class="wide" id="secret" type="password" autocomplete="current-password" value=${secret}
          onInput=${(event) => setSecret(event.target.value)} />
        <${Doing} main act=${enter} failed=${setError} submits>${t("sign_in")}</${Doing}>
      </div>
      <p class="quiet">${t("sign_in.help")}</p>
    </form>`;
}
