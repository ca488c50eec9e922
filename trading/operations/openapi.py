"""What the API's description says of the routes that are not REST framework's."""

from typing import Any

_ERROR = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}


def add_streams(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Describe the event stream and the metrics, which are plain views."""
    run_id = {"in": "path", "name": "run_id", "required": True, "schema": {"type": "string", "format": "uuid"}}
    result["paths"]["/jobs/runs/{run_id}/events"] = {
        "get": {
            "operationId": "jobs_runs_events",
            "description": "Server-sent events: `progress` whenever the run changes, `end` when it has ended.",
            "parameters": [run_id],
            "tags": ["jobs"],
            "security": [{"token": []}, {"cron": []}],
            "responses": {
                "200": {"description": "The stream.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
                **{status: {"description": "", **_ERROR} for status in ("401", "403", "404", "405", "429")},
            },
        }
    }
    last = {"in": "header", "name": "Last-Event-ID", "schema": {"type": "string"}}
    for kind in ("run", "sweep"):
        name = {"in": "path", "name": f"{kind}_hash", "required": True, "schema": {"type": "string"}}
        result["paths"][f"/{kind}s/{{{kind}_hash}}/events"] = {
            "get": {
                "operationId": f"{kind}s_events",
                "description": "Server-sent events: `queued`, `started`, `finished` for each step, `progress`, `end`.",
                "parameters": [name, last],
                "tags": [f"{kind}s"],
                "security": [{"token": []}],
                "responses": {
                    "200": {
                        "description": "The stream.",
                        "content": {"text/event-stream": {"schema": {"type": "string"}}},
                    },
                    "204": {"description": "Nothing has happened since `Last-Event-ID`, and nothing will."},
                    **{status: {"description": "", **_ERROR} for status in ("401", "403", "404", "405", "429")},
                },
            }
        }
    result["paths"]["/metrics"] = {
        "get": {
            "operationId": "metrics",
            "description": "Prometheus metrics, for this machine itself or with QT_ADMIN_TOKEN as bearer.",
            "tags": ["operations"],
            "security": [{}],
            "responses": {
                "200": {"description": "The metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}},
                **{status: {"description": "", **_ERROR} for status in ("401", "405")},
            },
        }
    }
    return result


def add_summaries(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Give each operation the first sentence of its description as its title in the list of them."""
    for path in result["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict) and "summary" not in operation and operation.get("description"):
                sentence = " ".join(operation["description"].split("\n\n", 1)[0].split()).split(". ", 1)[0]
                operation["summary"] = sentence.removesuffix(".").replace("`", "")  # shown as it is there
    return result
