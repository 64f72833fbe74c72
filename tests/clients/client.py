"""The official Python client, once through the gate.

Reads on standard input what to do, as JSON: `url` and `headers`, or `command`, `args` and
`env` of a process to speak to; `mode` (as the client has it: "legacy", "auto" or a revision),
`waits` (to see nothing but how its tools change), `path`, `uri`, `value`, and for TLS `ca`,
`certificate` and `key`, all PEM files. Prints what it saw as JSON.
"""

import asyncio
import contextlib
import json
import ssl
import sys

import httpx2
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client


def http_client(plan):
    verify = True
    if "ca" in plan:
        verify = ssl.create_default_context(cafile=plan["ca"])
        verify.load_cert_chain(plan["certificate"], plan["key"])
    return httpx2.AsyncClient(headers=plan["headers"], verify=verify, trust_env=False, timeout=30)


async def call(client, tool, arguments):
    result = await client.call_tool(tool, arguments)
    texts = [block.text for block in result.content]
    return {"error": result.is_error, "structured": result.structured_content, "texts": texts}


async def listed(client):
    """Every resource, following the cursors."""
    uris, cursor = [], None
    while True:
        page = await client.list_resources(cursor=cursor)
        uris += [str(resource.uri) for resource in page.resources]
        cursor = page.next_cursor
        if cursor is None:
            return uris


async def read(client, uri):
    try:
        result = await client.read_resource(uri)
        return [part.text for part in result.contents]
    except MCPError as error:
        return error.error.code


class Told:
    """Waits for a notification."""

    def __init__(self, method):
        self.method, self.found = method, asyncio.get_running_loop().create_future()

    async def __call__(self, message):
        if getattr(message, "method", None) == self.method and not self.found.done():
            self.found.set_result(message.params)


async def updated(client, plan, told):
    """The resource that it is told of while it writes."""
    write = {"path": plan["path"], "data": {"value": plan["value"]}}
    if client.protocol_version == "2026-07-28":
        async with client.listen(resource_subscriptions=[plan["uri"]]) as stream:
            await call(client, "kv_write", write)
            async for event in stream:
                return event.uri
    await client.subscribe_resource(plan["uri"])
    for _ in range(60):
        # Its stream may not be open yet.
        await call(client, "kv_write", write)
        with contextlib.suppress(asyncio.TimeoutError):
            return (await asyncio.wait_for(asyncio.shield(told.found), 0.5)).uri


async def changed(client, told):
    """The tools after it was told that they have changed."""
    if client.protocol_version == "2026-07-28":
        async with client.listen(tools_list_changed=True) as stream:
            await anext(aiter(stream))
    else:
        await asyncio.wait_for(told.found, 120)
    return {"changed": [tool.name for tool in (await client.list_tools()).tools]}


@contextlib.asynccontextmanager
async def way(plan):
    if "command" in plan:
        yield StdioServerParameters(command=plan["command"], args=plan["args"], env=plan["env"])
        return
    async with http_client(plan) as http:
        yield streamable_http_client(plan["url"], http_client=http)


async def main(plan):
    waits = plan.get("waits")
    told = Told("notifications/tools/list_changed" if waits else "notifications/resources/updated")
    async with way(plan) as transport:
        async with Client(transport, mode=plan["mode"], read_timeout_seconds=30, message_handler=told) as client:
            if waits:
                return await changed(client, told)
            tools = await client.list_tools()
            data = {"value": plan["value"]}
            return {
                "revision": client.protocol_version,
                "tools": [tool.name for tool in tools.tools],
                "write": await call(client, "kv_write", {"path": plan["path"], "data": data}),
                "read": await call(client, "kv_read", {"path": plan["path"]}),
                "missing": await call(client, "kv_read", {"path": plan["path"] + "/missing"}),
                "resources": await listed(client),
                "resource": await read(client, plan["uri"]),
                "folder": await read(client, plan["uri"] + "/"),
                "nothing": await read(client, plan["uri"] + "/missing"),
                "templates": [t.uri_template for t in (await client.list_resource_templates()).resource_templates],
                "prompts": [prompt.name for prompt in (await client.list_prompts()).prompts],
                "prompt": (await client.get_prompt("kv_read", {"path": plan["path"]})).messages[0].content.text,
                "updated": await updated(client, plan, told),
            }


print(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
