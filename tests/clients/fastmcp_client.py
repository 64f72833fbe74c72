"""FastMCP's client, once through the gate.

Reads on standard input what to do, as JSON, as `client.py` does. Prints what it saw as JSON.
"""

import asyncio
import json
import ssl
import sys

from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport


def way(plan):
    if "command" in plan:
        return StdioTransport(plan["command"], plan["args"], env=plan["env"])
    verify = True
    if "ca" in plan:
        verify = ssl.create_default_context(cafile=plan["ca"])
        verify.load_cert_chain(plan["certificate"], plan["key"])
    return StreamableHttpTransport(plan["url"], headers=plan["headers"], verify=verify)


async def call(client, tool, arguments):
    result = await client.call_tool(tool, arguments, raise_on_error=False)
    texts = [block.text for block in result.content]
    return {"error": result.is_error, "structured": result.structured_content, "texts": texts}


async def main(plan):
    async with Client(way(plan), timeout=30) as client:
        data = {"value": plan["value"]}
        prompt = await client.get_prompt("kv_read", {"path": plan["path"]})
        return {
            "tools": [tool.name for tool in await client.list_tools()],
            "write": await call(client, "kv_write", {"path": plan["path"], "data": data}),
            "read": await call(client, "kv_read", {"path": plan["path"]}),
            "missing": await call(client, "kv_read", {"path": plan["path"] + "/missing"}),
            "resource": [part.text for part in await client.read_resource(plan["uri"])],
            "prompt": prompt.messages[0].content.text,
        }


print(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
