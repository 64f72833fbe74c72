"""Beside each Python client: its plans, the tools that it calls, and where it is the official one, the rest.

A client reads on standard input what to do, one plan a line, as JSON: `url` and `headers`, or `command`, `args` and
`env` of a process to speak to; for TLS `ca`, `certificate` and `key`, all PEM files; `calls` (pairs of a tool and its
arguments), `path`, `uri`, `shared` (a URI). Prints for each what it saw, as JSON on a line, and before it
"subscribed" while it waits for others to change what it has subscribed to.
"""

import asyncio
import functools
import inspect
import json
import operator
import ssl
import sys


def run(main):
    for line in sys.stdin:
        print(json.dumps(asyncio.run(main(json.loads(line)))), flush=True)


def verify(plan):
    """The TLS of an HTTP client."""
    if "ca" not in plan:
        return True
    context = ssl.create_default_context(cafile=plan["ca"])
    context.load_cert_chain(plan["certificate"], plan["key"])
    return context


async def called(plan, call):
    """The result of each call; an argument may be a member of a tool's last answer."""
    answers, results = {}, []

    def filled(argument):
        if not isinstance(argument, dict) or "from" not in argument:
            return argument
        return functools.reduce(operator.getitem, argument["from"], answers)

    for tool, arguments in plan["calls"]:
        result = await call(tool, {name: filled(argument) for name, argument in arguments.items()})
        if not result["error"]:
            answers[tool] = json.loads(result["texts"][0])
        results.append(result)
    return results


class Told:
    """Waits for a notification."""

    def __init__(self, plan):
        self.method = "notifications/tools/list_changed" if "waits" in plan else "notifications/resources/updated"
        self.found = asyncio.get_running_loop().create_future()

    async def __call__(self, message):
        told = getattr(message, "root", message)
        if getattr(told, "method", None) == self.method and not self.found.done():
            self.found.set_result(told.params)


def subscribed():
    """From now on others change what it has subscribed to."""
    print("subscribed", flush=True)


def wire(result):
    """A result as it was sent, whatever the version of the client calls its members."""
    return result.model_dump(mode="json", by_alias=True)


async def tools(client):
    return [tool.name for tool in (await client.list_tools()).tools]


async def look(client, plan, updated):
    """All but how it has got there: `updated` gives the URI that it is told of."""

    async def call(tool, arguments):
        result = wire(await client.call_tool(tool, arguments))
        texts = [block["text"] for block in result["content"]]
        return {"error": result["isError"], "structured": result.get("structuredContent"), "texts": texts}

    async def listed():
        """Every resource, following the cursors; the first page where they cannot be sent."""
        uris, more = [], {}
        while True:
            page = wire(await client.list_resources(**more))
            uris += [resource["uri"] for resource in page["resources"]]
            more = {"cursor": page.get("nextCursor")}
            if not more["cursor"] or "cursor" not in inspect.signature(client.list_resources).parameters:
                return uris

    async def read(uri):
        try:
            return [part.text for part in (await client.read_resource(uri)).contents]
        except Exception as error:
            return error.error.code

    return {
        "tools": await tools(client),
        "calls": await called(plan, call),
        "resources": await listed(),
        "resource": await read(plan["uri"]),
        "folder": await read(plan["uri"] + "/"),
        "nothing": await read(plan["uri"] + "/missing"),
        "templates": len(wire(await client.list_resource_templates())["resourceTemplates"]),
        "prompts": [prompt.name for prompt in (await client.list_prompts()).prompts],
        "prompt": (await client.get_prompt("kv_read", {"path": plan["path"]})).messages[0].content.text,
        "updated": await updated(),
        "shared": await read(plan["shared"]),
    }
