"""LangChain's adapters of MCP through the gate."""

import httpx
from common import called, run, verify
from langchain_mcp_adapters.client import MultiServerMCPClient


def way(plan):
    if "command" in plan:
        return {"transport": "stdio", "command": plan["command"], "args": plan["args"], "env": plan["env"]}

    def http_client(headers=None, timeout=None, auth=None):
        return httpx.AsyncClient(headers=headers, timeout=timeout, auth=auth, verify=verify(plan), trust_env=False)

    return {
        "transport": "streamable_http",
        "url": plan["url"],
        "headers": plan["headers"],
        "httpx_client_factory": http_client,
    }


async def main(plan):
    client = MultiServerMCPClient({"vault": way(plan)})
    tools = {tool.name: tool for tool in await client.get_tools()}

    async def call(tool, arguments):
        message = await tools[tool].ainvoke({"type": "tool_call", "id": "1", "name": tool, "args": arguments})
        structured = (message.artifact or {}).get("structured_content")
        texts = [block["text"] for block in message.content]
        return {"error": message.status == "error", "structured": structured, "texts": texts}

    prompt = await client.get_prompt("vault", "kv_read", arguments={"path": plan["path"]})
    return {
        "tools": list(tools),
        "calls": await called(plan, call),
        "resource": [blob.as_string() for blob in await client.get_resources("vault", uris=plan["uri"])],
        "prompt": prompt[0].content,
    }


run(main)
