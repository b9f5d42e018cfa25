"""The paths of serving endpoints, and of MLflow's own gateway, which reads them in another shape."""

from starlette.routing import Route

from tesela.control import (
    endpoints,
    logs,
    metrics,
    openapi,
    serving_extras,
    serving_read,
    serving_write,
)
from tesela.control.facts import Facts

SERVING = "/api/2.0/serving-endpoints"
GATEWAY = "/api/2.0/endpoints"


def routes(facts: Facts) -> list[Route]:
    list_all, create = serving_read.list_all(facts), serving_write.create(facts)
    gateway_list = endpoints.gateway_list(facts)
    one = f"{SERVING}/{{name}}"
    served = f"{one}/served-models/{{served}}"
    return [
        Route(SERVING, list_all, methods=["GET"]),
        Route(SERVING, create, methods=["POST"]),
        # MLflow puts a slash at the end.
        Route(f"{SERVING}/", list_all, methods=["GET"]),
        Route(f"{SERVING}/", create, methods=["POST"]),
        Route(f"{SERVING}/pt", serving_write.create(facts, units=True), methods=["POST"]),
        Route(f"{SERVING}/pt/{{name}}/config", serving_write.update_config(facts, units=True), methods=["PUT"]),
        Route(one, serving_read.get_one(facts), methods=["GET"]),
        Route(one, serving_write.delete(facts), methods=["DELETE"]),
        Route(f"{one}/config", serving_write.update_config(facts), methods=["PUT"]),
        Route(f"{one}/ai-gateway", serving_extras.ai_gateway(facts), methods=["PUT"]),
        Route(f"{one}/rate-limits", serving_extras.rate_limits(facts), methods=["PUT"]),
        Route(f"{one}/tags", serving_extras.tags(facts), methods=["PATCH"]),
        Route(f"{one}/notifications", serving_extras.notifications(facts), methods=["PATCH"]),
        Route(f"{one}/telemetry-config", serving_extras.telemetry_config(facts), methods=["PATCH"]),
        Route(f"{one}/metrics", metrics.handler_of(facts), methods=["GET"]),
        Route(f"{one}/openapi", openapi.handler_of(facts), methods=["GET"]),
        Route(f"{served}/logs", logs.logs(facts), methods=["GET"]),
        Route(f"{served}/build-logs", logs.build_logs(facts), methods=["GET"]),
        Route(GATEWAY, gateway_list, methods=["GET"]),
        Route(f"{GATEWAY}/", gateway_list, methods=["GET"]),
        Route(f"{GATEWAY}/{{name}}", endpoints.gateway_get(facts), methods=["GET"]),
    ]
