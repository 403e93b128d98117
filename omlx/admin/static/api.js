// Requests to this server: JSON in and out, errors as their message.

export class ApiError extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

// Told to the window when the server wants somebody to sign in.
export const NOT_SIGNED_IN = "omlx-not-signed-in";

export async function call(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError("", "unreachable");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    if (response.status === 401 && answer.error?.code === "not_signed_in") dispatchEvent(new Event(NOT_SIGNED_IN));
    throw new ApiError(answer.error?.message ?? `${response.status}`, answer.error?.code);
  }
  return answer;
}

const RETRY_MS = 3000;

// Calls `take` with each event's data, and `lost` whenever the line breaks; then there is another. Returns what ends it.
export function follow(path, take, lost = () => {}) {
  let source;
  let timer;
  const open = () => {
    source = new EventSource(path);
    source.onmessage = (message) => take(JSON.parse(message.data));
    source.onerror = () => {
      lost();
      // By itself, a browser comes back after a broken line, but not after a refusal.
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(open, RETRY_MS);
    };
  };
  open();
  return () => {
    clearTimeout(timer);
    source.close();
  };
}
