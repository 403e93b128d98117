// One streamed answer of a model.

import { ApiError } from "./api.js";
import { number } from "./words.js";

const SAMPLING = ["temperature", "top_p", "max_tokens"];

// Fills `added` with what comes and calls `show` each time; its numbers come last.
export async function stream(model, chat, messages, added, show, signal) {
  const sampling = SAMPLING.filter((name) => chat[name] !== "").map((name) => [name, Number(chat[name])]);
  const body = {
    model: model.id,
    stream: true,
    stream_options: { include_usage: true },
    messages: [
      ...(chat.system ? [{ role: "system", content: chat.system }] : []),
      ...messages.map(({ role, content }) => ({ role, content })),
    ],
    ...Object.fromEntries(sampling),
  };
  const began = performance.now();
  const response = await fetch("/v1/chat/completions", {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal,
  });
  if (!response.ok) {
    const said = await response.json().catch(() => ({}));
    throw new ApiError(said.error?.message ?? `${response.status}`, said.error?.code);
  }
  let first = null;
  for await (const event of eventsOf(response.body)) {
    if (event.error) throw new ApiError(event.error.message, event.error.code);
    const delta = event.choices[0]?.delta ?? {};
    if (delta.content || delta.reasoning_content) first ??= performance.now();
    added.content += delta.content ?? "";
    added.reasoning += delta.reasoning_content ?? "";
    if (event.usage) added.numbers = numbersOf(event.usage, began, first ?? performance.now(), performance.now());
    show();
  }
}

function numbersOf(usage, began, first, last) {
  const seconds = (last - first) / 1000;
  return {
    speed: number(seconds > 0 ? (usage.completion_tokens - 1) / seconds : 0, 1),
    ttft: number((first - began) / 1000, 2),
    prompt: number(usage.prompt_tokens),
    cached: number(usage.prompt_tokens_details?.cached_tokens ?? 0),
  };
}

async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data: ") && line !== "data: [DONE]") yield JSON.parse(line.slice(6));
    }
  }
}
