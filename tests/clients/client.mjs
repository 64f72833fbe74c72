// The official TypeScript client, of its first or second package, once through the gate.
//
// Reads on standard input what to do, as JSON: `modules` (the folder of the
// installed packages), `package` ("sdk" or "client"), for the second `mode` (as the client has it: "legacy"
// or "auto"), `waits` (to see nothing but how its tools change), `url` and `headers`, or
// `command`, `args` and `env` of a process to speak to, `client` (an OAuth client's id) and its `issuer`,
// `path`, `uri`, `value`, and for TLS `ca`, `certificate` and `key`, all PEM files. Prints what it saw
// as JSON.

import { readFileSync } from "node:fs";
import { request } from "node:https";
import { createRequire } from "node:module";
import { Readable } from "node:stream";

const plan = JSON.parse(readFileSync(0, "utf8"));
const sdk = createRequire(`${plan.modules}/`);
const parts = plan.package === "client"
  ? ["client", "client/stdio"]
  : ["sdk/client/index.js", "sdk/client/streamableHttp.js", "sdk/client/stdio.js", "sdk/client/auth-extensions.js", "sdk/types.js"];
const { Client, StreamableHTTPClientTransport, StdioClientTransport, ClientCredentialsProvider, ResourceUpdatedNotificationSchema } =
  Object.assign({}, ...parts.map((part) => sdk(`@modelcontextprotocol/${part}`)));

// The built-in fetch takes no client certificate.
function overTls(url, { method = "GET", headers, body, signal } = {}) {
  const options = {
    method,
    signal,
    headers: Object.fromEntries(new Headers(headers)),
    ca: readFileSync(plan.ca),
    cert: readFileSync(plan.certificate),
    key: readFileSync(plan.key),
  };
  return new Promise((resolve, reject) => {
    const sent = request(url, options, (received) => {
      const { statusCode: status, headers } = received;
      const bare = status === 202 || status === 204;
      // A stream of events is read as it comes.
      resolve(new Response(bare ? received.resume() && null : Readable.toWeb(received), { status, headers }));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

function overHttp() {
  return new StreamableHTTPClientTransport(new URL(plan.url), {
    requestInit: { headers: plan.headers },
    // Without a credential of its own it asks for a token, where the gate's challenge leads it.
    authProvider: plan.client ? new ClientCredentialsProvider({ clientId: plan.client, clientSecret: "s", expectedIssuer: plan.issuer }) : undefined,
    fetch: plan.ca ? overTls : fetch,
  });
}

const transport = plan.command ? new StdioClientTransport(plan) : overHttp();
// It tells its revision to the transport only.
let revision;
const settle = transport.setProtocolVersion?.bind(transport);
transport.setProtocolVersion = (version) => {
  revision = version;
  settle?.(version);
};

// What it makes of being told that its tools have changed: it lists them again.
let tell;
const told = new Promise((resolve) => (tell = resolve));
const onChanged = (error, tools) => tell(error ? String(error) : tools.map((tool) => tool.name));
const options = { listChanged: { tools: { onChanged } }, versionNegotiation: { mode: plan.mode ?? "legacy" } };
const client = new Client({ name: "tests", version: "1" }, options);
await client.connect(transport);
revision = client.getNegotiatedProtocolVersion?.() ?? revision;

if (plan.waits) {
  const late = AbortSignal.timeout(120_000);
  late.onabort = () => tell("it was told nothing");
  console.log(JSON.stringify({ changed: await told }));
  await client.close();
  process.exit();
}

async function call(name, args) {
  const result = await client.callTool({ name, arguments: args });
  return {
    error: result.isError,
    structured: result.structuredContent,
    texts: result.content.map((block) => block.text),
  };
}

// Every resource, following the cursors.
async function listed() {
  const uris = [];
  let cursor;
  do {
    const page = await client.listResources(cursor ? { cursor } : undefined);
    uris.push(...page.resources.map((resource) => resource.uri));
    cursor = page.nextCursor;
  } while (cursor);
  return uris;
}

async function read(uri) {
  try {
    const { contents } = await client.readResource({ uri });
    return contents.map((part) => part.text);
  } catch (error) {
    // Where it is told the URI, the second package puts the newest revision's code in place of the older ones'.
    return error.constructor.name === "ResourceNotFoundError" && revision !== "2026-07-28" ? -32002 : error.code;
  }
}

// The resource that it is told of while it writes.
async function updated() {
  let found;
  const update = new Promise((resolve) => (found = resolve));
  client.setNotificationHandler(ResourceUpdatedNotificationSchema ?? "notifications/resources/updated", (told) => found(told.params.uri));
  if (revision === "2026-07-28") {
    await client.listen({ resourceSubscriptions: [plan.uri] });
  } else {
    await client.subscribeResource({ uri: plan.uri });
  }
  for (let left = 60; left > 0; left--) {
    // Its stream may not be open yet.
    await call("kv_write", { path: plan.path, data: { value: plan.value } });
    const told = await Promise.race([update, new Promise((resolve) => setTimeout(resolve, 500))]);
    if (told) {
      return told;
    }
  }
}

const { tools } = await client.listTools();
const seen = {
  revision,
  tools: tools.map((tool) => tool.name),
  write: await call("kv_write", { path: plan.path, data: { value: plan.value } }),
  read: await call("kv_read", { path: plan.path }),
  missing: await call("kv_read", { path: `${plan.path}/missing` }),
  resources: await listed(),
  resource: await read(plan.uri),
  folder: await read(`${plan.uri}/`),
  nothing: await read(`${plan.uri}/missing`),
  templates: (await client.listResourceTemplates()).resourceTemplates.map((template) => template.uriTemplate),
  prompts: (await client.listPrompts()).prompts.map((prompt) => prompt.name),
  prompt: (await client.getPrompt({ name: "kv_read", arguments: { path: plan.path } })).messages[0].content.text,
  updated: await updated(),
};
await client.close();
console.log(JSON.stringify(seen));
