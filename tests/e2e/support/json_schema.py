"""Holds values against JSON Schemas, as far as those of /openapi.json go."""


def resolve(schema, document):
    while "$ref" in schema:
        node = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            node = node[part]
        schema = node
    return schema


def check(value, schema, document, where="$"):
    """Holds a value against a JSON Schema, as far as ours go."""
    schema = resolve(schema, document)
    for alternatives in ("anyOf", "oneOf"):
        if alternatives in schema:
            for one in schema[alternatives]:
                try:
                    return check(value, one, document, where)
                except AssertionError:
                    continue
            raise AssertionError(f"{where}: {value!r} is none of {schema}")
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    python = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "null": type(None)}
    assert not kinds or any(isinstance(value, python[kind]) for kind in kinds), f"{where}: {value!r} is no {kinds}"
    if isinstance(value, dict):
        missing = set(schema.get("required", [])) - set(value)
        assert not missing, f"{where}: {missing} missing"
        assert set(value) <= set(schema["properties"]), f"{where}: {set(value) - set(schema['properties'])} unknown"
        for name, inner in value.items():
            check(inner, schema["properties"][name], document, f"{where}.{name}")
    if isinstance(value, list):
        for index, inner in enumerate(value):
            check(inner, schema["items"], document, f"{where}[{index}]")
    return None
