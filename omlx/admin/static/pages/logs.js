// What the server's processes log, as it is written.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/htm-preact.js";
import { follow } from "../api.js";
import { copyText } from "../clipboard.js";
import { LogLine } from "../parts.js";
import { language, number, t } from "../words.js";

const LEVELS = ["debug", "info", "warning", "error"];
const KEPT = 1000;
const NEAR = 20; // pixels from the end within which one reads along
let count = 0;

export function Logs() {
  const asked = new URLSearchParams(location.hash.split("?")[1]).get("level");
  const [level, setLevel] = useState(LEVELS.includes(asked) ? asked : "info");
  const [source, setSource] = useState("");
  const [words, setWords] = useState("");
  const [isFollowing, setFollowing] = useState(true);
  const [said, setSaid] = useState("");
  const { lines, sources } = useLines(level, source, isFollowing);
  const shown = useMemo(() => lines.filter((line) => text(line).toLowerCase().includes(words.toLowerCase())), [lines, words]);
  const rows = useMemo(() => shown.map((line) => html`<${LogLine} key=${line.key} line=${line} />`), [shown, language]);
  const box = useRef(null);
  const isAtEnd = useRef(true);
  useLayoutEffect(() => {
    if (isAtEnd.current) box.current.scrollTop = box.current.scrollHeight;
  }, [rows]);
  const scrolled = () => {
    const { scrollHeight, scrollTop, clientHeight } = box.current;
    isAtEnd.current = scrollHeight - scrollTop - clientHeight < NEAR;
  };
  const choose = (set) => (event) => {
    isAtEnd.current = true;
    set(event.target.value);
    setFollowing(true);
  };
  const copy = async () => {
    await copyText(shown.map(text).join("\n"));
    setSaid(t("copied"));
  };
  return html`
    <section class="card">
      <form class="row" onSubmit=${(event) => event.preventDefault()}>
        <select aria-label=${t("level")} value=${level} onChange=${choose(setLevel)}>
          ${LEVELS.map((each) => html`<option value=${each}>${t("level.least", { level: t(`level.${each}`) })}</option>`)}
        </select>
        <select aria-label=${t("source")} value=${source} onChange=${choose(setSource)}>
          <option value="">${t("logs.all")}</option>
          ${sources.map((each) => html`<option value=${each}>${each}</option>`)}
        </select>
        <input class="wide" type="search" aria-label=${t("logs.words")} placeholder=${t("logs.words")} value=${words}
          onInput=${(event) => setWords(event.target.value)} />
        <button type="button" onClick=${() => setFollowing(!isFollowing)}>${t(isFollowing ? "logs.pause" : "logs.follow")}</button>
        <button type="button" onClick=${copy}>${t("copy")}</button><span role="status">${said}</span>
      </form>
      <div class="log" role="log" tabindex="0" aria-label=${t("page.logs")} ref=${box} onScroll=${scrolled}>${rows}</div>
      <p class="quiet">${t(isFollowing ? "logs.count" : "logs.paused", { count: number(shown.length) })}</p>
    </section>`;
}

// The latest lines of those that are wanted. After a pause or a line that broke, the server tells the latest anew.
function useLines(level, source, isFollowing) {
  const [shown, setShown] = useState({ lines: [], sources: [] });
  useEffect(() => {
    if (!isFollowing) return undefined;
    let isFirst = true;
    const take = (news) => {
      const isAnew = isFirst;
      const added = news.lines.map((line) => ({ ...line, key: count++ }));
      isFirst = false;
      setShown(({ lines }) => ({ lines: [...(isAnew ? [] : lines), ...added].slice(-KEPT), sources: news.sources }));
    };
    const query = new URLSearchParams({ level, limit: KEPT, ...(source && { source }) });
    return follow(`/admin/api/logs/events?${query}`, take, () => { isFirst = true; });
  }, [level, source, isFollowing]);
  return shown;
}

function text({ time, level, source, request_id, message, exception }) {
  const line = [time, level.toUpperCase(), source, request_id, message].filter(Boolean).join(" ");
  return exception ? `${line}\n${exception}` : line;
}
