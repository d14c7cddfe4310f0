"""Which peers are believed: a list of addresses, networks, `unix` (whoever connects by a Unix socket), names, or `*`.

A name that is no address is compared as it stands: proxies may name themselves so in what they forward. An IPv4 address
that came in an IPv6 one (::ffff:192.0.2.1) is the IPv4 address. What was asked once is remembered, up to a bound.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

_MOST_KNOWN = 4096
_LONGEST_KNOWN = 64

LOOPBACK = frozenset(("127.0.0.1", "::1"))


class Trust:
    """The peers in `text`, separated by commas. ValueError for a network that is none."""

    def __init__(self, text: str) -> None:
        self.entries = [entry.strip() for entry in text.split(",") if entry.strip()]
        self.is_all = "*" in self.entries
        self._addresses: set[IPv4Address | IPv6Address] = set()
        self._networks: list[IPv4Network | IPv6Network] = []
        self._names: set[str] = set()
        self._known: dict[str, bool] = {}
        for entry in self.entries:
            if "/" in entry and not entry.startswith("/"):
                self._networks.append(_network(entry))
            elif (address := _address(entry)) is not None:
                self._addresses.add(address)
            else:
                self._names.add(entry)

    def __contains__(self, host: str | None) -> bool:
        """Whether `host` is believed; None is the peer of a Unix socket."""
        if self.is_all:
            return True
        if host is None:
            return "unix" in self._names
        known = self._known.get(host)
        if known is None:
            known = self._judge(host)
            if len(self._known) < _MOST_KNOWN and len(host) <= _LONGEST_KNOWN:
                self._known[host] = known
        return known

    def warning(self, what: str) -> str:
        """Who is believed, as a line for the log, when it is more than this machine; else ""."""
        return f"Believing {what} from {', '.join(self.entries)}" if set(self.entries) - LOOPBACK else ""

    def _judge(self, host: str) -> bool:
        address = _address(host)
        if address is None:
            # `unix` is nobody's name: whoever writes it into a field would be believed.
            return host in self._names and host != "unix"
        return address in self._addresses or any(address in network for network in self._networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        try:
            hint = f"; did you mean {ip_network(text, strict=False)}?"
        except ValueError:
            hint = ""
        raise ValueError(f"{text} is no network: {error}{hint}") from None
