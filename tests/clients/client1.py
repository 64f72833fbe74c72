"""The official Python client before version 2, through the gate.

These know the revisions with a handshake alone. With `waits` it sees nothing but how its tools change.
"""

import asyncio
import contextlib
import inspect
from datetime import timedelta

import httpx
from common import Told, look, run, subscribed, tools, verify
from mcp import ClientSession, StdioServerParameters, stdio_client
from mcp.client import streamable_http


@contextlib.asynccontextmanager
async def way(plan):
    """Streams of messages, in and out."""
    if "command" in plan:
        server = StdioServerParameters(command=plan["command"], args=plan["args"], env=plan["env"])
        async with stdio_client(server) as streams:
            yield streams
        return

    def http_client(headers=None, timeout=None, auth=None):
        return httpx.AsyncClient(headers=headers, timeout=timeout, auth=auth, verify=verify(plan), trust_env=False)

    open_way, options = streamable_http.streamablehttp_client, {}
    if "httpx_client_factory" in inspect.signature(open_way).parameters:
        options["httpx_client_factory"] = http_client
    else:
        # The first ones take no HTTP client of one's own.
        streamable_http.create_mcp_http_client = http_client
    async with open_way(plan["url"], headers=plan["headers"], **options) as (reads, writes, _):
        yield reads, writes


async def main(plan):
    told = Told(plan)

    async def updated():
        """The resource that it is told of."""
        await session.subscribe_resource(plan["shared"])
        subscribed()
        params = await asyncio.wait_for(told.found, 30)
        # It does not always end well while it is told of more.
        await session.unsubscribe_resource(plan["shared"])
        return str(params.uri)

    async with way(plan) as (reads, writes):
        patience = timedelta(seconds=30)
        async with ClientSession(reads, writes, read_timeout_seconds=patience, message_handler=told) as session:
            revision = (await session.initialize()).protocolVersion
            if "waits" not in plan:
                return {"revision": revision, **await look(session, plan, updated)}
            await asyncio.wait_for(told.found, 120)
            return {"changed": await tools(session)}


run(main)
