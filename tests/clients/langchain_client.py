"""LangChain's adapters of MCP, once through the gate.

Reads on standard input what to do, as JSON, as `client.py` does. Prints what it saw as JSON.
"""

import asyncio
import json
import ssl
import sys

import httpx
from langchain_mcp_adapters.client import MultiServerMCPClient


def way(plan):
    if "command" in plan:
        return {"transport": "stdio", "command": plan["command"], "args": plan["args"], "env": plan["env"]}
    verify = True
    if "ca" in plan:
        verify = ssl.create_default_context(cafile=plan["ca"])
        verify.load_cert_chain(plan["certificate"], plan["key"])

    def http_client(headers=None, timeout=None, auth=None):
        return httpx.AsyncClient(headers=headers, timeout=timeout, auth=auth, verify=verify, trust_env=False)

    return {
        "transport": "streamable_http",
        "url": plan["url"],
        "headers": plan["headers"],
        "httpx_client_factory": http_client,
    }


async def call(tool, arguments):
    message = await tool.ainvoke({"type": "tool_call", "id": "1", "name": tool.name, "args": arguments})
    structured = (message.artifact or {}).get("structured_content")
    texts = [block["text"] for block in message.content]
    return {"error": message.status == "error", "structured": structured, "texts": texts}


async def main(plan):
    client = MultiServerMCPClient({"vault": way(plan)})
    tools = {tool.name: tool for tool in await client.get_tools()}
    prompt = await client.get_prompt("vault", "kv_read", arguments={"path": plan["path"]})
    return {
        "tools": list(tools),
        "write": await call(tools["kv_write"], {"path": plan["path"], "data": {"value": plan["value"]}}),
        "read": await call(tools["kv_read"], {"path": plan["path"]}),
        "missing": await call(tools["kv_read"], {"path": plan["path"] + "/missing"}),
        "resource": [blob.as_string() for blob in await client.get_resources("vault", uris=plan["uri"])],
        "prompt": prompt[0].content,
    }


print(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
