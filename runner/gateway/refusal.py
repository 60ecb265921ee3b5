"""The gateway's own errors, as they travel to the container. Runs on: host."""

from runner.contract.run_socket import GatewayError, GatewayErrorBody
from runner.contract.status import AgentErrorType


class Refusal(Exception):
    """A call that the gateway answers itself: HTTP status and `GatewayErrorBody`."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: AgentErrorType = AgentErrorType.INTERNAL,
        provider_status: int | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self._retry_after_seconds = retry_after_seconds
        self.error = GatewayError(type=type, message=message, status=provider_status)

    def body(self) -> str:
        """Return the JSON of the answer."""
        return GatewayErrorBody(error=self.error).model_dump_json()

    def headers(self) -> dict[str, str]:
        """Return the headers of the answer beside the usual ones."""
        if self._retry_after_seconds is None:
            return {}
        return {"Retry-After": str(self._retry_after_seconds)}
