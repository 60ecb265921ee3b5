"""Answer the model calls of all sockets of a run, within its budget. Runs on: host."""

import asyncio
import logging

from aiohttp import web

from runner.gateway.books import Books
from runner.gateway.http_socket import cut
from runner.gateway.ledger import CallEnd
from runner.gateway.meter import Meter
from runner.gateway.model_request import ModelRequest
from runner.gateway.refusal import Refusal
from runner.gateway.routes import Route
from runner.gateway.upstream import BrokenStreamError, CallProgress, ModelCalls

logger = logging.getLogger(__name__)


class ModelAnswers:
    """Passes checked requests on to the providers, and counts what they take."""

    def __init__(self, books: Books, upstream: ModelCalls) -> None:
        self._books = books
        self._upstream = upstream
        self.requests_seen = asyncio.Event()
        """Set at the first model request that is passed on."""

    async def answer(
        self, request: web.Request, route: Route, asked: ModelRequest
    ) -> web.StreamResponse:
        """Give the provider's answer as it comes. Raises Refusal where there is none."""
        self.requests_seen.set()
        call = await self._books.open(route, asked)
        asked = call.request
        meter = Meter(route.dialect, stream=asked.stream, request_bytes=len(asked.body))
        progress = CallProgress()
        end: CallEnd = "cancelled"
        response = web.StreamResponse()
        response.content_type = "text/event-stream" if asked.stream else "application/json"
        response.enable_chunked_encoding()
        try:
            async with self._upstream.call(
                route, asked.body, stream=asked.stream, progress=progress
            ) as chunks:
                await response.prepare(request)
                async for chunk in chunks:
                    meter.feed(chunk)
                    if meter.is_complete:
                        await call.note("complete", progress, meter)
                    await response.write(chunk)
                tokens = meter.tokens()
                progress.tokens = tokens.input + tokens.output
            await call.note("complete", progress, meter)
            await response.write_eof()
            end = "complete"
        except Refusal:
            end = "refused"
            raise
        except BrokenStreamError as error:
            end = "broken"
            logger.warning("%s: %s: %s", route.agent_id, route.provider.name, error)
            cut(request)
        finally:
            call.settle(_true_end(end, meter), progress, meter)
        return response


def _true_end(end: CallEnd, meter: Meter) -> CallEnd:
    """A container need not wait for what comes after the last event."""
    return "complete" if end == "cancelled" and meter.is_complete else end
