"""JSON schemas of the YAML files, for editors that complete and check while one writes."""

import json
from typing import Any, Literal

from pydantic import TypeAdapter

from experiments.points.registry import POINT
from experiments.schema import AnyModel, Job
from experiments.sweep.header import Header


def schema_text(what: Literal["experiment", "job", "model"]) -> str:
    """The schema as JSON text."""
    match what:
        case "experiment":
            found = _experiment()
        case "job":
            found = TypeAdapter(Job).json_schema()
        case "model":
            found = TypeAdapter(AnyModel).json_schema()
    address = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps({"$schema": address, **_with_ref(found)}, indent=1)


def _experiment() -> dict[str, Any]:
    """A header and a point in one mapping: what a point needs may stand under `sweep` instead."""
    header = TypeAdapter(Header).json_schema()
    points = POINT.json_schema()
    kinds = []
    for kind in points["oneOf"]:
        name = kind["$ref"].rpartition("/")[2]
        point = points["$defs"][name]
        keys = {**point["properties"], **header["properties"], "kind": point["properties"]["kind"]}
        kinds.append(
            {
                "type": "object",
                "title": name,
                "description": point.get("description", ""),
                "properties": keys,
                "required": header["required"],
                "additionalProperties": False,
            }
        )
    return {"oneOf": kinds, "$defs": {**points["$defs"], **header.get("$defs", {})}}


def _with_ref(schema: Any) -> Any:
    """Every mapping may begin with `ref:`, and then take its required keys from there."""
    if isinstance(schema, list):
        return [_with_ref(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _with_ref(value) for key, value in schema.items()}
    properties = schema.get("properties")
    if schema.get("type") == "object" and isinstance(properties, dict):
        ref = {"type": "string", "description": "a YAML file whose keys stand here too"}
        found["properties"] = {"ref": ref, **found["properties"]}
        required = found.pop("required", None)
        if required:
            found["anyOf"] = [{"required": ["ref"]}, {"required": required}]
    return found
