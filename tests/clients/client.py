"""The official Python client through the gate.

`mode` is as the client has it: "legacy", "auto" or a revision. With `waits` it sees nothing but how its tools change.
"""

import asyncio
import contextlib

import httpx2
from common import Told, look, run, subscribed, tools, verify
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client


@contextlib.asynccontextmanager
async def way(plan):
    if "command" in plan:
        yield StdioServerParameters(command=plan["command"], args=plan["args"], env=plan["env"])
        return
    options = {"headers": plan["headers"], "verify": verify(plan), "trust_env": False, "timeout": 30}
    async with httpx2.AsyncClient(**options) as http:
        yield streamable_http_client(plan["url"], http_client=http)


async def updated(client, plan, told):
    """The resource that it is told of."""
    if client.protocol_version == "2026-07-28":
        async with client.listen(resource_subscriptions=[plan["shared"]]) as stream:
            subscribed()
            return (await anext(aiter(stream))).uri
    await client.subscribe_resource(plan["shared"])
    subscribed()
    params = await asyncio.wait_for(told.found, 30)
    await client.unsubscribe_resource(plan["shared"])
    return params.uri


async def changed(client, told):
    """The tools after it was told that they have changed."""
    if client.protocol_version == "2026-07-28":
        async with client.listen(tools_list_changed=True) as stream:
            await anext(aiter(stream))
    else:
        await asyncio.wait_for(told.found, 120)
    return {"changed": await tools(client)}


async def main(plan):
    told = Told(plan)
    async with way(plan) as transport:
        async with Client(transport, mode=plan["mode"], read_timeout_seconds=30, message_handler=told) as client:
            if "waits" in plan:
                return await changed(client, told)
            seen = await look(client, plan, lambda: updated(client, plan, told))
            return {"revision": client.protocol_version, **seen}


run(main)
