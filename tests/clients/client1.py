"""The official Python client before version 2, once through the gate.

Reads on standard input what to do, as JSON, as `client.py` does, but for `mode`, since these clients
know the revisions with a handshake alone. Prints what it saw as JSON.
"""

import asyncio
import contextlib
import inspect
import json
import ssl
import sys
from datetime import timedelta

import httpx
from mcp import ClientSession, McpError, StdioServerParameters, stdio_client
from mcp.client import streamable_http

PATIENCE = timedelta(seconds=30)


@contextlib.asynccontextmanager
async def way(plan):
    """Streams of messages, in and out."""
    if "command" in plan:
        server = StdioServerParameters(command=plan["command"], args=plan["args"], env=plan["env"])
        async with stdio_client(server) as streams:
            yield streams
        return
    verify = True
    if "ca" in plan:
        verify = ssl.create_default_context(cafile=plan["ca"])
        verify.load_cert_chain(plan["certificate"], plan["key"])

    def http_client(headers=None, timeout=None, auth=None):
        return httpx.AsyncClient(headers=headers, timeout=timeout, auth=auth, verify=verify, trust_env=False)

    open_way, options = streamable_http.streamablehttp_client, {}
    if "httpx_client_factory" in inspect.signature(open_way).parameters:
        options["httpx_client_factory"] = http_client
    else:
        # The first ones take no HTTP client of one's own.
        streamable_http.create_mcp_http_client = http_client
    async with open_way(plan["url"], headers=plan["headers"], **options) as (reads, writes, _):
        yield reads, writes


class Told:
    """Waits for a notification."""

    def __init__(self, method):
        self.method, self.found = method, asyncio.get_running_loop().create_future()

    async def __call__(self, message):
        told = getattr(message, "root", None)
        if getattr(told, "method", None) == self.method and not self.found.done():
            self.found.set_result(told.params)


async def call(session, tool, arguments):
    result = await session.call_tool(tool, arguments)
    # Some know of no structured content, and keep what they do not know.
    structured = getattr(result, "structuredContent", None)
    return {"error": result.isError, "structured": structured, "texts": [block.text for block in result.content]}


async def listed(session):
    """Every resource, following the cursors; the first page where they cannot be sent."""
    uris, more = [], {}
    while True:
        page = await session.list_resources(**more)
        uris += [str(resource.uri) for resource in page.resources]
        if page.nextCursor is None or "cursor" not in inspect.signature(session.list_resources).parameters:
            return uris
        more = {"cursor": page.nextCursor}


async def read(session, uri):
    try:
        return [part.text for part in (await session.read_resource(uri)).contents]
    except McpError as error:
        return error.error.code


async def updated(session, plan, told):
    """The resource that it is told of while it writes."""
    await session.subscribe_resource(plan["uri"])
    for _ in range(60):
        # Its stream may not be open yet.
        await call(session, "kv_write", {"path": plan["path"], "data": {"value": plan["value"]}})
        with contextlib.suppress(asyncio.TimeoutError):
            return str((await asyncio.wait_for(asyncio.shield(told.found), 0.5)).uri)


async def look(session, plan, revision, told):
    data = {"value": plan["value"]}
    return {
        "revision": revision,
        "tools": [tool.name for tool in (await session.list_tools()).tools],
        "write": await call(session, "kv_write", {"path": plan["path"], "data": data}),
        "read": await call(session, "kv_read", {"path": plan["path"]}),
        "missing": await call(session, "kv_read", {"path": plan["path"] + "/missing"}),
        "resources": await listed(session),
        "resource": await read(session, plan["uri"]),
        "folder": await read(session, plan["uri"] + "/"),
        "nothing": await read(session, plan["uri"] + "/missing"),
        "templates": [t.uriTemplate for t in (await session.list_resource_templates()).resourceTemplates],
        "prompts": [prompt.name for prompt in (await session.list_prompts()).prompts],
        "prompt": (await session.get_prompt("kv_read", {"path": plan["path"]})).messages[0].content.text,
        "updated": await updated(session, plan, told),
    }


async def main(plan):
    waits = plan.get("waits")
    told = Told("notifications/tools/list_changed" if waits else "notifications/resources/updated")
    async with way(plan) as (reads, writes):
        async with ClientSession(reads, writes, read_timeout_seconds=PATIENCE, message_handler=told) as session:
            revision = (await session.initialize()).protocolVersion
            if not waits:
                return await look(session, plan, revision, told)
            await asyncio.wait_for(told.found, 120)
            return {"changed": [tool.name for tool in (await session.list_tools()).tools]}


print(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
