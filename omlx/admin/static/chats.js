// The conversations that this browser keeps.

const KEPT = "omlx.chats";
const MOST = 50;
const TITLE = 50;

export function fresh(like = {}) {
  return {
    id: crypto.randomUUID?.() ?? String(Date.now()), model: "", system: "", temperature: "", top_p: "", max_tokens: "",
    ...like, messages: [],
  };
}

// The latest first; at least one.
export function kept() {
  try {
    const found = JSON.parse(localStorage.getItem(KEPT));
    if (Array.isArray(found) && found.length) return found.map((chat) => ({ ...fresh(), ...chat }));
  } catch {
    // What somebody else wrote there is nothing to go on with.
  }
  return [fresh()];
}

// Those that nothing was said in aren't worth keeping. Pictures may be more than a browser takes: then the oldest conversations go.
export function keep(chats) {
  let worth = chats.filter((chat) => chat.messages.length).slice(0, MOST);
  for (;;) {
    try {
      localStorage.setItem(KEPT, JSON.stringify(worth));
      return;
    } catch {
      if (!worth.length) return;
      worth = worth.slice(0, -1);
    }
  }
}

export function textOf({ content }) {
  return typeof content === "string" ? content : content.filter((part) => part.type === "text").map((part) => part.text).join("\n");
}

export function titleOf(chat) {
  const first = chat.messages.find((message) => message.role === "user");
  return first ? textOf(first).slice(0, TITLE) : "";
}
