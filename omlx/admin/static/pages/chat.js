// A conversation with a model, kept in this browser alone.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { ApiError } from "../api.js";
import { markup } from "../markup.js";
import { Problem } from "../parts.js";
import { number, t } from "../words.js";

const KEPT = "omlx.chat";
const CHATTING = ["llm", "vlm", "ocr"];
const LARGEST_PICTURE = 8_000_000;

function kept() {
  try {
    return { model: "", system: "", temperature: "", messages: [], ...JSON.parse(localStorage.getItem(KEPT)) };
  } catch {
    return { model: "", system: "", temperature: "", messages: [] };
  }
}

export function Chat({ now }) {
  const [chat, setChat] = useState(kept);
  const [typed, setTyped] = useState("");
  const [pictures, setPictures] = useState([]);
  const [error, setError] = useState(null);
  const [answering, setAnswering] = useState(null);
  const end = useRef(null);
  useEffect(() => {
    try {
      localStorage.setItem(KEPT, JSON.stringify(chat));
    } catch {
      // Pictures may be more than a browser keeps; the conversation goes on without being kept.
    }
  }, [chat]);
  useEffect(() => () => answering?.abort(), []);
  useEffect(() => end.current?.scrollIntoView({ block: "nearest" }), [chat.messages]);
  const models = (now?.catalog.models ?? []).filter((each) => CHATTING.includes(each.type) && !each.is_hidden);
  const model = models.find((each) => each.id === chat.model) ?? models.find((each) => each.is_default) ?? models[0];
  const change = (part) => setChat((before) => ({ ...before, ...part }));

  const answer = async (messages) => {
    const control = new AbortController();
    setAnswering(control);
    setError(null);
    const added = { role: "assistant", content: "", reasoning: "" };
    const show = () => change({ messages: [...messages, { ...added }] });
    show();
    try {
      await stream(model, chat, messages, added, show, control.signal);
    } catch (failure) {
      if (failure.name !== "AbortError") setError(failure);
    }
    if (!added.content && !added.reasoning) change({ messages });
    setAnswering(null);
  };
  const send = (event) => {
    event.preventDefault();
    if (!typed.trim() && pictures.length === 0) return;
    const parts = pictures.map((url) => ({ type: "image_url", image_url: { url } }));
    const content = parts.length ? [...parts, { type: "text", text: typed }] : typed;
    setTyped("");
    setPictures([]);
    answer([...chat.messages, { role: "user", content }]);
  };
  const edit = (place) => {
    const content = chat.messages[place].content;
    setTyped(typeof content === "string" ? content : content.filter((part) => part.type === "text").map((part) => part.text).join("\n"));
    change({ messages: chat.messages.slice(0, place) });
  };
  const attach = async (event) => {
    const files = [...event.target.files].filter((file) => file.size <= LARGEST_PICTURE);
    setPictures(await Promise.all(files.map(dataUrl)));
  };
  if (!now) return html`<p class="quiet">${t("loading")}</p>`;
  if (!model) return html`<p class="card">${t("status.empty")} <a href="#/downloads">${t("page.downloads")}</a></p>`;
  const latest = chat.messages.length - 1;
  return html`
    <${Problem} error=${error} />
    <div class="row">
      <select aria-label=${t("chat.model")} value=${model.id} onChange=${(event) => change({ model: event.target.value })}>
        ${models.map((each) => html`<option value=${each.id}>${each.alias ?? each.id}</option>`)}
      </select>
      <button type="button" disabled=${answering !== null} onClick=${() => change({ messages: [] })}>${t("chat.new")}</button>
    </div>
    <details class="card"><summary>${t("chat.options")}</summary>
      <div class="row">
        <input class="wide" aria-label=${t("chat.system")} placeholder=${t("chat.system")} value=${chat.system}
          onInput=${(event) => change({ system: event.target.value })} />
        <input type="number" min="0" max="2" step="0.1" aria-label=${t("chat.temperature")} placeholder=${t("chat.temperature")}
          value=${chat.temperature} onInput=${(event) => change({ temperature: event.target.value })} />
      </div></details>
    <div role="log" aria-label=${t("page.chat")} aria-busy=${answering !== null}>
      ${chat.messages.map((message, place) => html`
        <${Message} key=${place} message=${message} busy=${answering !== null}
          edit=${message.role === "user" ? () => edit(place) : null}
          again=${message.role === "assistant" && place === latest ? () => answer(chat.messages.slice(0, place)) : null} />`)}
      <div ref=${end} />
    </div>
    <form class="row" onSubmit=${send}>
      <textarea class="wide" rows="3" aria-label=${t("chat.message")} placeholder=${t("chat.message")} value=${typed}
        onInput=${(event) => setTyped(event.target.value)}
        onKeyDown=${(event) => { if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !answering) send(event); }} />
      ${model.type !== "llm" && html`<label>${t("chat.pictures")} <input type="file" accept="image/*" multiple onChange=${attach} /></label>`}
      ${answering
        ? html`<button type="button" onClick=${() => answering.abort()}>${t("chat.stop")}</button>`
        : html`<button class="main" type="submit">${t("chat.send")}</button>`}
    </form>`;
}

function Message({ message, busy, edit, again }) {
  const isOurs = message.role === "user";
  const parts = typeof message.content === "string" ? [{ type: "text", text: message.content }] : message.content;
  const { numbers } = message;
  return html`
    <article class="card ${isOurs ? "ours" : ""}" aria-label=${t(isOurs ? "chat.you" : "chat.model")}>
      ${message.reasoning && html`<details><summary>${t("chat.reasoning")}</summary><pre tabindex="0">${message.reasoning}</pre></details>`}
      ${parts.map((part) => part.type === "image_url"
        ? html`<img class="sent" src=${part.image_url.url} alt=${t("chat.picture")} />`
        : isOurs ? html`<p class="said">${part.text}</p>` : html`<${Marked} text=${part.text} />`)}
      <div class="row quiet">
        ${numbers && html`<span>${t("chat.numbers", numbers)}</span>`}
        ${edit && html`<button type="button" disabled=${busy} onClick=${edit}>${t("chat.edit")}</button>`}
        ${again && html`<button type="button" disabled=${busy} onClick=${again}>${t("chat.again")}</button>`}
      </div>
    </article>`;
}

// A model's Markdown, of which nothing can run.
function Marked({ text }) {
  const place = useRef(null);
  useEffect(() => { place.current.replaceChildren(markup(text)); }, [text]);
  return html`<div class="marked" ref=${place} />`;
}

async function stream(model, chat, messages, added, show, signal) {
  const body = {
    model: model.id,
    stream: true,
    stream_options: { include_usage: true },
    messages: [
      ...(chat.system ? [{ role: "system", content: chat.system }] : []),
      ...messages.map(({ role, content }) => ({ role, content })),
    ],
    ...(chat.temperature === "" ? {} : { temperature: Number(chat.temperature) }),
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
    if (event.usage) {
      const seconds = (performance.now() - first) / 1000;
      added.numbers = {
        speed: number(seconds > 0 ? (event.usage.completion_tokens - 1) / seconds : 0, 1),
        ttft: number(((first ?? performance.now()) - began) / 1000, 2),
        prompt: number(event.usage.prompt_tokens),
        cached: number(event.usage.prompt_tokens_details?.cached_tokens ?? 0),
      };
    }
    show();
  }
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

function dataUrl(file) {
  return new Promise((take, refuse) => {
    const reader = new FileReader();
    reader.onload = () => take(reader.result);
    reader.onerror = () => refuse(reader.error);
    reader.readAsDataURL(file);
  });
}
