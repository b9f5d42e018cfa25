"""OAuth machine-to-machine: a service principal that may query one endpoint, and its secret."""

import time

from databricks.sdk import WorkspaceClient
from databricks.sdk.service.serving import (
    ChatMessage,
    ChatMessageRole,
    ServingEndpointAccessControlRequest,
    ServingEndpointPermissionLevel,
)

ENDPOINT = "databricks-meta-llama-3-3-70b-instruct"

admin = WorkspaceClient()
robot = admin.service_principals.create(display_name="example-robot")
try:
    admin.serving_endpoints.update_permissions(
        admin.serving_endpoints.get(ENDPOINT).id,
        access_control_list=[
            ServingEndpointAccessControlRequest(
                service_principal_name=robot.application_id,
                permission_level=ServingEndpointPermissionLevel.CAN_QUERY,
            )
        ],
    )
    secret = admin.service_principal_secrets_proxy.create(robot.id, lifetime="3600s").secret
    time.sleep(1)  # within which a change is known everywhere

    # A program of its own has these in DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET.
    w = WorkspaceClient(
        host=admin.config.host,
        client_id=robot.application_id,
        client_secret=secret,
        auth_type="oauth-m2m",
    )
    print("signed in as:", w.current_user.me().display_name)
    question = ChatMessage(role=ChatMessageRole.USER, content="What is a mosaic?")
    answer = w.serving_endpoints.query(ENDPOINT, messages=[question], max_tokens=64)
    print(answer.choices[0].message.content)
finally:
    admin.service_principals.delete(robot.id)
