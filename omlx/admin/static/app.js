// The frame: navigation by the address' hash, theme, language, and what the server says live.

import { html, render, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { follow } from "./api.js";
import { Problem } from "./parts.js";
import { Access } from "./pages/access.js";
import { Benchmark } from "./pages/benchmark.js";
import { Chat } from "./pages/chat.js";
import { Downloads } from "./pages/downloads.js";
import { Logs } from "./pages/logs.js";
import { Models } from "./pages/models.js";
import { Settings } from "./pages/settings.js";
import { Status } from "./pages/status.js";
import { SignIn, useSession } from "./session.js";
import { chooseLanguage, language, loadWords, t } from "./words.js";

const PAGES = { status: Status, chat: Chat, models: Models, downloads: Downloads, benchmark: Benchmark, settings: Settings, logs: Logs, access: Access };
const THEMES = ["system", "light", "dark"];
const KEPT_THEME = "omlx.theme";
const MINUTES = 5;

function currentPage() {
  const name = location.hash.slice(2).split("?")[0];
  return name in PAGES ? name : "status";
}

function applyTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

// What the server said in the last minutes, the latest last. When it says no more, and when it does again, the session is asked for.
function useLive(isIn, renew) {
  const [history, setHistory] = useState([]);
  useEffect(() => {
    if (!isIn) return undefined;
    let lost = false;
    const turn = (isLost) => {
      if (lost !== isLost) renew();
      lost = isLost;
    };
    return follow(
      "/admin/api/live",
      (now) => {
        setHistory((before) => [...before, now].slice(-60 * MINUTES));
        turn(false);
      },
      () => turn(true),
    );
  }, [isIn]);
  return history;
}

function Frame() {
  const [page, setPage] = useState(currentPage());
  const [theme, setTheme] = useState(localStorage.getItem(KEPT_THEME) ?? "system");
  const [, redraw] = useState(0);
  const { session, setSession, error, renew } = useSession();
  const isIn = session !== null && session.is_signed_in;
  const history = useLive(isIn, renew);
  const place = useRef(null);
  useEffect(() => {
    const turn = () => {
      setPage(currentPage());
      place.current?.focus({ preventScroll: true });
      scrollTo(0, 0);
    };
    addEventListener("hashchange", turn);
    return () => removeEventListener("hashchange", turn);
  }, []);
  useEffect(() => {
    document.title = `${t(`page.${page}`)} · oMLX`;
  });
  const pickTheme = (event) => {
    localStorage.setItem(KEPT_THEME, event.target.value);
    applyTheme(event.target.value);
    setTheme(event.target.value);
  };
  const pickLanguage = async (event) => {
    await chooseLanguage(event.target.value);
    redraw((count) => count + 1);
  };
  const Page = PAGES[page];
  return html`
    <header>
      <strong>oMLX</strong>
      <nav aria-label=${t("navigation")}>
        ${Object.keys(PAGES).map((name) => html`
          <a key=${name} href="#/${name}" aria-current=${name === page ? "page" : undefined}>${t(`page.${name}`)}</a>`)}
      </nav>
      <select aria-label=${t("theme")} value=${theme} onChange=${pickTheme}>
        ${THEMES.map((each) => html`<option value=${each}>${t(`theme.${each}`)}</option>`)}
      </select>
      <select aria-label=${t("language")} value=${language} onChange=${pickLanguage}>
        <option value="en">English</option>
        <option value="zh">简体中文</option>
      </select>
    </header>
    <main tabindex="-1" ref=${place}>
      <h1>${t(`page.${page}`)}</h1>
      <${Problem} error=${error} />
      ${isIn && html`<${Page} history=${history} now=${history[history.length - 1]} session=${session} renew=${renew} />`}
      ${session && !isIn && html`<${SignIn} take=${setSession} />`}
    </main>`;
}

applyTheme(localStorage.getItem(KEPT_THEME) ?? "system");
await loadWords();
render(html`<${Frame} />`, document.getElementById("app"));
