"""The OpenAPI document as one page for people: no scripts, no outside links."""

import json
from html import escape
from typing import Any, Final

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #b3123f; }
@media (prefers-color-scheme: dark) { :root { --accent: #ff7a9c; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { margin: 0; } h2 { margin: 0; font-size: 1.1rem; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
section { border-top: 1px solid var(--line); padding: 1.2rem 0; }
.method { color: var(--accent); font-weight: 700; } .soft { opacity: .75; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { background: var(--soft); padding: .8rem; overflow: auto; border-radius: 6px; }
table { border-collapse: collapse; width: 100%; }
td:first-child { min-width: 10rem; width: 25%; }
td { vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); }
summary { cursor: pointer; } a { color: var(--accent); }
"""


def render(document: dict[str, Any], *, address: str) -> str:
    """Write an OpenAPI document as HTML, for the service at an address."""
    info = document["info"]
    operations = [
        _operation(method, path, operation, address=address)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    schemas = [_schema(name, schema) for name, schema in document.get("components", {}).get("schemas", {}).items()]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(info["title"])} API</title><link rel="icon" href="data:,"><style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{escape(info["title"])} API <span class="soft">v{escape(info["version"])}</span></h1>
<p>{_inline(info["description"])}</p>
<p>For programs: <a href="/openapi.json">/openapi.json</a>.</p>
{"".join(operations)}
<section><h2>Schemas</h2>{"".join(schemas)}</section>
</main>
</body>
</html>
"""


def _operation(method: str, path: str, operation: dict[str, Any], *, address: str) -> str:
    parts = [
        f'<section><h2><span class="method">{method.upper()}</span> <code>{escape(path)}</code></h2>',
        f"<p>{_inline(operation.get('summary', ''))}. {_inline(operation.get('description', ''))}</p>",
    ]
    if parameters := operation.get("parameters"):
        rows = [(f"{one['name']} ({one['in']})", one.get("description", "")) for one in parameters]
        parts.append(f"<h3>Parameters</h3>{_table(rows)}")
    if body := operation.get("requestBody"):
        kinds = ", ".join(f"`{kind}`" for kind in body["content"])
        parts.append(f"<h3>Body</h3><p>{_inline(body.get('description', ''))} As {_inline(kinds)}.</p>")
    if path == "/v1/predict":
        parts.append(f"<pre>curl --data-binary @ecg.png {escape(address)}v1/predict</pre>")
    parts.append("<h3>Replies</h3>")
    parts += [_reply(status, reply) for status, reply in operation["responses"].items()]
    return "".join(parts) + "</section>"


def _reply(status: str, reply: dict[str, Any]) -> str:
    said = f"<strong>{escape(status)}</strong> {_inline(reply.get('description', ''))}"
    content = reply.get("content", {})
    kinds = _inline(", ".join(f"`{kind}`" for kind in content))
    examples = [kind["example"] for kind in content.values() if "example" in kind]
    if not examples:
        return f"<p>{said} {kinds}</p>"
    return f"<details><summary>{said} {kinds}</summary><pre>{_json(examples[0])}</pre></details>"


def _schema(name: str, schema: dict[str, Any]) -> str:
    rows = [
        (field, f"{_type(content)}. {content.get('description', '')}")
        for field, content in schema.get("properties", {}).items()
    ]
    return f"<h3>{escape(name)}</h3><p>{_inline(schema.get('description', ''))}</p>{_table(rows)}"


def _type(content: dict[str, Any]) -> str:
    if "$ref" in content:
        return f"`{content['$ref'].rsplit('/', 1)[-1]}`"
    if "anyOf" in content:
        return " or ".join(_type(one) for one in content["anyOf"])
    if content.get("type") == "array":
        return f"list of {_type(content.get('items', {}))}"
    if "enum" in content:
        return " | ".join(f"`{value}`" for value in content["enum"])
    return str(content.get("type", "any"))


def _table(rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td><code>{escape(name)}</code></td><td>{_inline(text)}</td></tr>" for name, text in rows)
    return f"<table>{cells}</table>" if cells else ""


def _inline(text: str) -> str:
    """Escaped, with `code` between backticks."""
    return "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(escape(text).split("`")))


def _json(value: object) -> str:
    return escape(json.dumps(value, indent=2, ensure_ascii=False))
