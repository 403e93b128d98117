// What a person types for a setting, as the JSON value that it stands for, and whether the setting takes it. The server checks it again.

const MEMORY = /^(\d{1,15}(?:\.\d{1,9})?) ?(%|([kmgt]?)(i?)b)$/i;
const MOST_BYTES = 2 ** 63;
const URL_START = /^https?:\/\/[^\s@?#]+$/;

// A value as it stands in its field.
export function shown(value) {
  return value === null || value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);
}

// Nothing resets the setting. What can't be read stays the text that it is.
export function parsed(setting, typed) {
  const text = typed.trim();
  if (text === "") return null;
  const isJson = ["integer", "number", "boolean", "object"].includes(setting.form) || (setting.form === "texts" && text.startsWith("["));
  const isBytes = setting.form === "memory" && /^\d+$/.test(text);
  if (!isJson && !isBytes) return setting.form === "text" || setting.form === "texts" ? typed : text;
  try {
    return JSON.parse(text);
  } catch {
    return typed;
  }
}

export function isTaken(setting, typed) {
  const value = parsed(setting, typed);
  if (value === null) return true;
  switch (setting.form) {
    case "integer": return Number.isInteger(value) && isWithin(setting, value);
    case "number": return typeof value === "number" && isWithin(setting, value);
    case "boolean": return typeof value === "boolean";
    case "object": return typeof value === "object" && !Array.isArray(value);
    case "texts": return typeof value === "string" || (Array.isArray(value) && value.every((each) => typeof each === "string" && each));
    case "memory": return isMemory(value);
    case "url": return URL_START.test(value);
    case "name": return value.length <= 128 && !/\s|\.\.|^[./]|\/$/.test(value);
    default: return true;
  }
}

function isMemory(value) {
  if (typeof value === "number") return value > 0 && value < MOST_BYTES;
  const [, amount, unit, power, binary] = MEMORY.exec(value) ?? [];
  if (amount === undefined) return false;
  if (unit === "%") return Number(amount) > 0 && Number(amount) <= 100;
  if (binary && !power) return false;
  const size = Number(amount) * (binary ? 1024 : 1000) ** " kmgt".indexOf(power.toLowerCase() || " ");
  return size >= 1 && size < MOST_BYTES;
}

function isWithin({ least, most, above }, value) {
  return (least === null || value >= least) && (most === null || value <= most) && (above === null || value > above);
}
