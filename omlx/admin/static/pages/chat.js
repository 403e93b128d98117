// Conversations with a model, kept in this browser alone.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { stream } from "../answer.js";
import { fresh, keep, kept, textOf, titleOf } from "../chats.js";
import { markup } from "../markup.js";
import { Problem } from "../parts.js";
import { t } from "../words.js";

const CHATTING = ["llm", "vlm", "ocr"];
const LARGEST_PICTURE = 8_000_000;
const KEEP_MS = 500;
const SAMPLING = {
  temperature: { min: 0, max: 2, step: 0.1 }, top_p: { min: 0.01, max: 1, step: 0.01 }, max_tokens: { min: 1, step: 1 },
};

// The conversations, kept a moment after each change and when the page is left.
function useChats() {
  const [chats, setChats] = useState(kept);
  const latest = useRef(chats);
  latest.current = chats;
  useEffect(() => {
    const timer = setTimeout(() => keep(chats), KEEP_MS);
    return () => clearTimeout(timer);
  }, [chats]);
  useEffect(() => {
    const flush = () => keep(latest.current);
    addEventListener("pagehide", flush);
    return () => {
      removeEventListener("pagehide", flush);
      flush();
    };
  }, []);
  return [chats, setChats];
}

export function Chat({ now }) {
  const [chats, setChats] = useChats();
  const [typed, setTyped] = useState("");
  const [pictures, setPictures] = useState([]);
  const [error, setError] = useState(null);
  const [answering, setAnswering] = useState(null);
  const control = useRef(null);
  const end = useRef(null);
  const chat = chats[0];
  useEffect(() => () => control.current?.abort(), []);
  useEffect(() => end.current?.scrollIntoView({ block: "nearest" }), [chat.messages]);
  const models = (now?.catalog.models ?? []).filter((each) => CHATTING.includes(each.type) && !each.is_hidden);
  const model = models.find((each) => each.id === chat.model) ?? models.find((each) => each.is_default) ?? models[0];
  const change = (part) => setChats(([first, ...others]) => [{ ...first, ...part }, ...others]);
  const open = (id) => setChats((all) => [...all.filter((each) => each.id === id), ...all.filter((each) => each.id !== id)]);
  const begin = () => setChats((all) => [fresh({ model: chat.model }), ...all.filter((each) => each.messages.length)]);
  const remove = () => setChats(([, ...others]) => (others.length ? others : [fresh({ model: chat.model })]));

  const answer = async (messages) => {
    control.current = new AbortController();
    setAnswering(control.current);
    setError(null);
    const added = { role: "assistant", content: "", reasoning: "" };
    const show = () => change({ messages: [...messages, { ...added }] });
    show();
    try {
      await stream(model, chat, messages, added, show, control.current.signal);
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
    setTyped(textOf(chat.messages[place]));
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
      <select class="wide" aria-label=${t("chat.history")} value=${chat.id} disabled=${answering !== null} onChange=${(event) => open(event.target.value)}>
        ${chats.map((each) => html`<option key=${each.id} value=${each.id}>${titleOf(each) || t("chat.new")}</option>`)}
      </select>
      <button type="button" disabled=${answering !== null || chat.messages.length === 0} onClick=${begin}>${t("chat.new")}</button>
      <button type="button" disabled=${answering !== null || chat.messages.length === 0} onClick=${remove}>${t("chat.delete")}</button>
    </div>
    <details class="card"><summary>${t("chat.options")}</summary>
      <div class="row">
        <input class="wide" aria-label=${t("chat.system")} placeholder=${t("chat.system")} value=${chat.system}
          onInput=${(event) => change({ system: event.target.value })} />
        ${Object.entries(SAMPLING).map(([name, bounds]) => html`<label key=${name}>${t(`sampling.${name}`)}
          <input type="number" ...${bounds} value=${chat[name]} onInput=${(event) => change({ [name]: event.target.value })} /></label>`)}
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
  const { content, numbers, reasoning } = message;
  const parts = typeof content === "string" ? [{ type: "text", text: content }] : content;
  return html`
    <article class="card ${isOurs ? "ours" : ""}" aria-label=${t(isOurs ? "chat.you" : "chat.model")}>
      ${reasoning && html`<details><summary>${t("chat.reasoning")}</summary><pre tabindex="0">${reasoning}</pre></details>`}
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

function dataUrl(file) {
  return new Promise((take, refuse) => {
    const reader = new FileReader();
    reader.onload = () => take(reader.result);
    reader.onerror = () => refuse(reader.error);
    reader.readAsDataURL(file);
  });
}
