"""LangChain's adapters of MCP through the gate."""

import httpx
from common import called, run, verify
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.prompts import load_mcp_prompt
from langchain_mcp_adapters.resources import load_mcp_resources
from langchain_mcp_adapters.tools import load_mcp_tools


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
    # One for all: a session for each call would end while the call's changes are still told.
    async with MultiServerMCPClient({"vault": way(plan)}).session("vault") as session:
        tools = {tool.name: tool for tool in await load_mcp_tools(session)}

        async def call(tool, arguments):
            message = await tools[tool].ainvoke({"type": "tool_call", "id": "1", "name": tool, "args": arguments})
            structured = (message.artifact or {}).get("structured_content")
            texts = [block["text"] for block in message.content]
            return {"error": message.status == "error", "structured": structured, "texts": texts}

        prompt = await load_mcp_prompt(session, "kv_read", arguments={"path": plan["path"]})
        return {
            "tools": list(tools),
            "calls": await called(plan, call),
            "resource": [blob.as_string() for blob in await load_mcp_resources(session, uris=plan["uri"])],
            "prompt": prompt[0].content,
        }


run(main)
