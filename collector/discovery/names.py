"""Targets from DNS: addresses of a name (A, AAAA), or the services behind it (SRV)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from collector.discovery.model import DiscoveredTarget

Record = Literal["A", "AAAA", "SRV"]

_TIMEOUT_SECONDS = 5.0


class DnsDiscovery:
    """What a name resolves to; a resolver that does not answer keeps the last list.

    A name that does not exist has no targets: that is an answer, not a failure.

    Args:
        name: what to ask for.
        record: A or AAAA with `port`, or SRV, which tells the port itself.
        port: where the pages are; for A and AAAA only.
        refresh_seconds: how often to ask.
        nameservers: (address, port) of resolvers; the system's when empty.
        timeout_seconds: how long all of them together may take to answer.
    """

    def __init__(
        self,
        name: str,
        record: Record,
        port: int | None = None,
        refresh_seconds: float = 30.0,
        nameservers: Sequence[tuple[str, int]] = (),
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self.refresh_seconds = refresh_seconds
        self.problem: str | None = None
        self._name = name
        self._record: Record = record
        self._port = port
        self._nameservers = tuple(nameservers)
        self._resolver: Any = None
        self._last: tuple[DiscoveredTarget, ...] = ()

    async def targets(self) -> tuple[DiscoveredTarget, ...]:
        """The places behind the name now, or the last ones known."""
        import dns.exception
        import dns.resolver

        try:
            answers = await self._asked().resolve(
                self._name, self._record, lifetime=self._timeout_seconds
            )
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            self._last, self.problem = (), f"{self._name}: has no {self._record} record"
        except (dns.exception.DNSException, OSError, ValueError) as error:
            why = " ".join(str(error).split())[:150]
            self.problem = f"{self._name}: {why} (the {len(self._last)} targets known last stay)"
        else:
            self._last = tuple(sorted((self._target(row) for row in answers), key=_address))
            self.problem = None
        return self._last

    async def aclose(self) -> None:
        """Nothing stays open between questions."""

    def _asked(self) -> Any:
        import dns.asyncresolver
        import dns.nameserver

        if self._resolver is None:
            self._resolver = dns.asyncresolver.Resolver(configure=not self._nameservers)
            if self._nameservers:
                self._resolver.nameservers = [
                    dns.nameserver.Do53Nameserver(host, port) for host, port in self._nameservers
                ]
        return self._resolver

    def _target(self, row: Any) -> DiscoveredTarget:
        told = {"__meta_dns_name": self._name}
        if self._record == "SRV":
            host = row.target.to_text(omit_final_dot=True)
            told |= {
                "__meta_dns_srv_record_target": host,
                "__meta_dns_srv_record_port": str(row.port),
            }
            return DiscoveredTarget(f"{host}:{row.port}", told)
        host = f"[{row.address}]" if ":" in row.address else row.address
        return DiscoveredTarget(host if self._port is None else f"{host}:{self._port}", told)


def _address(target: DiscoveredTarget) -> str:
    return target.address
