// What to type or paste elsewhere to use a model. Its name is anybody's, so it is quoted for whatever reads it.

export const SNIPPETS = {
  curl: (model, origin, key) => `curl ${origin}/v1/chat/completions -H 'Authorization: Bearer ${key}' \\
  -d ${quoted(JSON.stringify({ model, messages: [{ role: "user", content: "Hello!" }] }))}`,
  python: (model, origin, key) => `from openai import OpenAI

client = OpenAI(base_url="${origin}/v1", api_key="${key}")
answer = client.chat.completions.create(model=${JSON.stringify(model)}, messages=[{"role": "user", "content": "Hello!"}])
print(answer.choices[0].message.content)`,
  claude: (model, origin, key) => `export ANTHROPIC_BASE_URL=${origin}
export ANTHROPIC_AUTH_TOKEN=${key}
export ANTHROPIC_MODEL=${quoted(model)}
export ANTHROPIC_DEFAULT_HAIKU_MODEL="$ANTHROPIC_MODEL" ANTHROPIC_DEFAULT_SONNET_MODEL="$ANTHROPIC_MODEL" ANTHROPIC_DEFAULT_OPUS_MODEL="$ANTHROPIC_MODEL"
export CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1
claude    # its instructions and tools alone are 20,000 tokens: the model needs a context well beyond that`,
  webui: (model, origin, key) => `docker run -p 3000:8080 -e OPENAI_API_BASE_URL=${fromContainer(origin)}/v1 \\
  -e OPENAI_API_KEY=${key} ghcr.io/open-webui/open-webui:main`,
};

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function fromContainer(origin) {
  return origin.replace(/127\.0\.0\.1|localhost/, "host.docker.internal");
}
