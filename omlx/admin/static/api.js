// Requests to this server: JSON in and out, errors as their message.

export class ApiError extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

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
    throw new ApiError(answer.error?.message ?? `${response.status}`, answer.error?.code);
  }
  return answer;
}

// Calls `take` with each event's data, and `lost` whenever the line breaks; the browser connects again. Returns what ends it.
export function follow(path, take, lost = () => {}) {
  const source = new EventSource(path);
  source.onmessage = (message) => take(JSON.parse(message.data));
  source.onerror = lost;
  return () => source.close();
}
