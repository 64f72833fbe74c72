// The official TypeScript client, of its first or second package, through the gate.
//
// Takes the package ("sdk" or "client") and a folder beside `node_modules`. Reads plans and prints what it saw as
// `common.py` has it, and in plans besides: for the second package `mode` (as the client has it: "legacy" or "auto"),
// `waits` (to see nothing but how its tools change), `client` (an OAuth client's id) and its `issuer`.

import { readFileSync } from "node:fs";
import { request } from "node:https";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";

const [name, folder] = process.argv.slice(2);
const sdk = createRequire(`${folder}/`);
const parts = name === "client"
  ? ["client", "client/stdio"]
  : ["sdk/client/index.js", "sdk/client/streamableHttp.js", "sdk/client/stdio.js", "sdk/client/auth-extensions.js", "sdk/types.js"];
const { Client, StreamableHTTPClientTransport, StdioClientTransport, ClientCredentialsProvider, ResourceUpdatedNotificationSchema } =
  Object.assign({}, ...parts.map((part) => sdk(`@modelcontextprotocol/${part}`)));

// The built-in fetch takes no client certificate.
const overTls = (plan) => (url, { method = "GET", headers, body, signal } = {}) => {
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
};

function overHttp(plan) {
  return new StreamableHTTPClientTransport(new URL(plan.url), {
    requestInit: { headers: plan.headers },
    // Without a credential of its own it asks for a token, where the gate's challenge leads it.
    authProvider: plan.client ? new ClientCredentialsProvider({ clientId: plan.client, clientSecret: "s", expectedIssuer: plan.issuer }) : undefined,
    fetch: plan.ca ? overTls(plan) : fetch,
  });
}

// A promise, and what fulfils it; it fails when nothing was told for two minutes.
function awaited() {
  let tell;
  const told = new Promise((resolve, reject) => {
    tell = resolve;
    AbortSignal.timeout(120_000).onabort = () => reject(new Error("it was told nothing"));
  });
  told.catch(() => {});
  return [told, tell];
}

// The result of each call; an argument may be a member of a tool's last answer.
async function called(client, calls) {
  const answers = {};
  const filled = (argument) => argument?.from?.reduce((part, member) => part[member], answers) ?? argument;
  const results = [];
  for (const [name, args] of calls) {
    const entries = Object.entries(args).map(([member, argument]) => [member, filled(argument)]);
    const result = await client.callTool({ name, arguments: Object.fromEntries(entries) });
    const texts = result.content.map((block) => block.text);
    answers[name] = result.isError ? answers[name] : JSON.parse(texts[0]);
    results.push({ error: result.isError, structured: result.structuredContent, texts });
  }
  return results;
}

// Every resource, following the cursors.
async function listed(client) {
  const uris = [];
  let cursor;
  do {
    const page = await client.listResources(cursor ? { cursor } : undefined);
    uris.push(...page.resources.map((resource) => resource.uri));
    cursor = page.nextCursor;
  } while (cursor);
  return uris;
}

// The resource that it is told of, while others change it.
async function updated(client, uri, revision) {
  const [update, tell] = awaited();
  const found = (told) => tell(told.params.uri);
  client.setNotificationHandler(ResourceUpdatedNotificationSchema ?? "notifications/resources/updated", found);
  const stateless = revision === "2026-07-28";
  await (stateless ? client.listen({ resourceSubscriptions: [uri] }) : client.subscribeResource({ uri }));
  console.log("subscribed");
  await update;
  await (stateless || client.unsubscribeResource({ uri }));
  return update;
}

async function look(client, plan, revision) {
  const read = async (uri) => {
    try {
      const { contents } = await client.readResource({ uri });
      return contents.map((part) => part.text);
    } catch (error) {
      // Where it is told the URI, the second package puts the newest revision's code in place of the older ones'.
      return error.constructor.name === "ResourceNotFoundError" && revision !== "2026-07-28" ? -32002 : error.code;
    }
  };
  const { messages } = await client.getPrompt({ name: "kv_read", arguments: { path: plan.path } });
  return {
    revision,
    tools: (await client.listTools()).tools.map((tool) => tool.name),
    calls: await called(client, plan.calls),
    resources: await listed(client),
    resource: await read(plan.uri),
    folder: await read(`${plan.uri}/`),
    nothing: await read(`${plan.uri}/missing`),
    templates: (await client.listResourceTemplates()).resourceTemplates.length,
    prompts: (await client.listPrompts()).prompts.map((prompt) => prompt.name),
    prompt: messages[0].content.text,
    updated: await updated(client, plan.shared, revision),
    shared: await read(plan.shared),
  };
}

async function visit(plan) {
  const transport = plan.command ? new StdioClientTransport(plan) : overHttp(plan);
  // It tells its revision to the transport only.
  let revision;
  const settle = transport.setProtocolVersion?.bind(transport);
  transport.setProtocolVersion = (version) => {
    revision = version;
    settle?.(version);
  };
  // What it makes of being told that its tools have changed: it lists them again.
  const [changed, tell] = awaited();
  const onChanged = (error, tools) => tell(error ? String(error) : tools.map((tool) => tool.name));
  const options = { listChanged: { tools: { onChanged } }, versionNegotiation: { mode: plan.mode ?? "legacy" } };
  const client = new Client({ name: "tests", version: "1" }, options);
  await client.connect(transport);
  revision = client.getNegotiatedProtocolVersion?.() ?? revision;
  const seen = plan.waits ? { changed: await changed } : await look(client, plan, revision);
  await client.close();
  return seen;
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await visit(JSON.parse(line))));
}
process.exit();
