"""FastMCP's client through the gate."""

from common import called, run, verify
from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport


def way(plan):
    if "command" in plan:
        return StdioTransport(plan["command"], plan["args"], env=plan["env"])
    return StreamableHttpTransport(plan["url"], headers=plan["headers"], verify=verify(plan))


async def main(plan):
    async with Client(way(plan), timeout=30) as client:

        async def call(tool, arguments):
            result = await client.call_tool(tool, arguments, raise_on_error=False)
            texts = [block.text for block in result.content]
            return {"error": result.is_error, "structured": result.structured_content, "texts": texts}

        prompt = await client.get_prompt("kv_read", {"path": plan["path"]})
        return {
            "tools": [tool.name for tool in await client.list_tools()],
            "calls": await called(plan, call),
            "resource": [part.text for part in await client.read_resource(plan["uri"])],
            "prompt": prompt.messages[0].content.text,
        }


run(main)
