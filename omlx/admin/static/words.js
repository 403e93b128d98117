// The words of the page in the chosen language, numbers and sizes as people read them.

const LANGUAGES = ["en", "zh"];
const KEPT = "omlx.language";
let words = {};
export let language = "en";

function preferred() {
  const kept = localStorage.getItem(KEPT);
  if (LANGUAGES.includes(kept)) return kept;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

export async function loadWords(wanted = preferred()) {
  const [english, chosen] = await Promise.all(
    ["en", wanted].map(async (name) => (await fetch(`/admin/static/i18n/${name}.json`)).json()),
  );
  words = { ...english, ...chosen };
  language = wanted;
  document.documentElement.lang = wanted === "zh" ? "zh-CN" : "en";
}

export async function chooseLanguage(wanted) {
  localStorage.setItem(KEPT, wanted);
  await loadWords(wanted);
}

// A text by its key, with {names} filled in. A key that there isn't is shown itself.
export function t(key, values = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

export function bytes(count) {
  if (count === null || count === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let power = 0;
  while (count >= 1000 && power < units.length - 1) {
    count /= 1000;
    power += 1;
  }
  return `${count.toLocaleString(language, { maximumFractionDigits: power && count < 100 ? 1 : 0 })} ${units[power]}`;
}

export function number(value, digits = 0, least = 0) {
  return value === null || value === undefined ? "–"
    : value.toLocaleString(language, { maximumFractionDigits: digits, minimumFractionDigits: least });
}

export function percent(share) {
  return share === null || share === undefined ? "–" : `${number(100 * share)} %`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return parts[0] ? `${parts[0]}:${String(parts[1]).padStart(2, "0")}:${String(parts[2]).padStart(2, "0")}`
    : `${parts[1]}:${String(parts[2]).padStart(2, "0")}`;
}

// A moment by the clock here, with the date unless it is today's.
export function moment(time) {
  const then = new Date(time);
  const day = then.toDateString() === new Date().toDateString() ? {} : { dateStyle: "short" };
  return then.toLocaleString(language, { timeStyle: "medium", hourCycle: "h23", ...day });
}
