"""Connect to a target by an address that was looked at. Runs on: host."""

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from typing import NamedTuple

from runner.config.egress_rules import EgressRules, IPAddress, Target
from runner.gateway.addresses import refused_kind
from runner.gateway.egress_request import DeniedError
from runner.gateway.lookups import Resolve

_MAX_ADDRESSES = 32
_MAX_TRIED = 4


class Reached(NamedTuple):
    """A server that was connected to."""

    address: IPAddress
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Connector(NamedTuple):
    """What it takes to decide where a connection may go."""

    rules: EgressRules
    resolve: Resolve
    is_own: Callable[[IPAddress], bool]
    seconds: float
    """For the look-up and the connection together."""

    async def connect(self, target: Target) -> Reached:
        """Return a connection to a target that the rules permit.

        Raises DeniedError where one of its addresses must not be reached, or none answers.
        """
        try:
            async with asyncio.timeout(self.seconds):
                addresses = await self._addresses(target)
                return await _first(target, addresses)
        except TimeoutError as error:
            what = f"{target} did not answer within {self.seconds:g} s"
            raise DeniedError(504, what, "failed") from error

    async def _addresses(self, target: Target) -> Sequence[IPAddress]:
        addresses = [target.address] if target.address else await self._looked_up(target)
        for address in addresses:
            kind = refused_kind(address, self.is_own)
            if kind and not self.rules.trusts(target, address):
                raise DeniedError(403, _forbidden(target, kind))
        return addresses

    async def _looked_up(self, target: Target) -> list[IPAddress]:
        try:
            texts = await self.resolve(target.host, target.port)
            addresses = [ipaddress.ip_address(text) for text in texts]
        except TimeoutError:
            raise
        except (OSError, ValueError) as error:
            what = f"the name {target.host} was not found"
            raise DeniedError(502, what, "failed") from error
        if not 1 <= len(addresses) <= _MAX_ADDRESSES:
            what = f"the name {target.host} has {len(addresses)} addresses"
            raise DeniedError(502, what, "failed")
        return addresses


async def _first(target: Target, addresses: Sequence[IPAddress]) -> Reached:
    why = ""
    for address in addresses[:_MAX_TRIED]:
        try:
            reader, writer = await asyncio.open_connection(str(address), target.port)
        except TimeoutError:
            raise
        except OSError as error:
            why = error.strerror or type(error).__name__
        else:
            return Reached(address, reader, writer)
    raise DeniedError(502, f"{target} cannot be connected to: {why}", "failed")


def _forbidden(target: Target, kind: str) -> str:
    """Say what is wrong without the address: what a private network looks like is not told."""
    leads = "is" if target.address else "leads to"
    return (
        f"{target} {leads} {kind}; such an address is reached only where "
        "runner.network.allow of this run's configuration lists it itself"
    )
