"""The OpenAPI document → one HTML page that needs nothing from elsewhere: no script, no font, no other host."""

from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.1rem; margin: 0 } summary { cursor: pointer; padding: .6rem .8rem }
details { border: 1px solid var(--line); border-radius: 6px; margin: .6rem 0 } details > div { padding: 0 .8rem .8rem }
summary h2 { display: inline } code { background: var(--soft); border-radius: 3px; padding: .1rem .3rem }
table { border-collapse: collapse; width: 100%; margin: .4rem 0 1rem } th { text-align: left }
td, th { border-top: 1px solid var(--line); padding: .3rem .5rem; vertical-align: top } td:first-child { width: 9rem }
b.method { display: inline-block; width: 3.4rem; font-family: monospace }
"""


def render(document: Mapping[str, Any]) -> str:
    """Writes the page.

    Args:
        document: An OpenAPI 3.1 document, as a JSON object.

    Returns:
        HTML; every text of the document is escaped.
    """
    info = document["info"]
    operations = [
        _operation(path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>"
        f"<p>{escape(info.get('description', ''))} The same as a machine reads it: "
        f'<a href="openapi.json">openapi.json</a> (OpenAPI {escape(document["openapi"])}).</p>'
        f"{''.join(operations)}</body></html>"
    )


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    """One route and method, folded."""
    summary = f'<b class="method">{escape(method.upper())}</b> <code>{escape(path)}</code>'
    parts = [f"<p>{escape(operation.get('description', ''))}</p>"]
    if parameters := operation.get("parameters"):
        parts.append(_table("Parameters", [(p["name"], _parameter(p)) for p in parameters]))
    if body := operation.get("requestBody"):
        rows = [(media_type, _type(content.get("schema", {}))) for media_type, content in body["content"].items()]
        parts.append(f"<p>{escape(body.get('description', ''))}</p>" + _table("Body", rows))
    answers = [(status, _answer(answer)) for status, answer in sorted(operation["responses"].items())]
    parts.append(_table("Answers", answers))
    head = escape(operation.get("description", "").split("\n")[0])
    return f"<details><summary><h2>{summary}</h2> {head}</summary><div>{''.join(parts)}</div></details>"


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td><code>{escape(name)}</code></td><td>{escape(text)}</td></tr>" for name, text in rows)
    return f"<table><tr><th>{title}</th><th></th></tr>{cells}</table>"


def _parameter(parameter: Mapping[str, Any]) -> str:
    schema = parameter.get("schema", {})
    default = f" Default: {schema['default']}." if "default" in schema else ""
    needed = " Required." if parameter.get("required") else ""
    return f"{_type(schema)}. {parameter.get('description', '')}{default}{needed}"


def _answer(answer: Mapping[str, Any]) -> str:
    media_types = ", ".join(answer.get("content", {}))
    return f"{answer.get('description', '')}{f' ({media_types})' if media_types else ''}"


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"] if part.get("type") != "null")
    if "enum" in schema:
        return " or ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if "properties" in schema:
        return "object with " + ", ".join(schema["properties"])
    kind = str(schema.get("format") or schema.get("type", "any"))
    limits = [f"{word} {schema[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in schema]
    return " ".join([kind, *limits])
