package quota

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"sluice/internal/canonical"
)

const (
	headerXFF       = "X-Forwarded-For"
	headerForwarded = "Forwarded"
)

// Proxies are the networks of proxies that say truly for whom they ask.
type Proxies []netip.Prefix

// AddressOf is the address from which a request comes: that of the connection or, behind trusted proxies, the last one of their header that is not a proxy's own.
// Where the header cannot be read, or X-Forwarded-For and Forwarded disagree, it is the connection's: one of them is then not the proxy's, who would have
// passed it on from the client. The zero address stands for a connection without one.
func (p Proxies) AddressOf(r *http.Request) netip.Addr {
	connection, _ := netip.ParseAddrPort(r.RemoteAddr)
	peer := connection.Addr().Unmap().WithZone("")
	if !p.trust(peer) {
		return peer
	}
	first, second := r.Header[headerXFF], r.Header[headerForwarded]
	if len(first) == 0 && len(second) == 0 {
		return peer
	}
	client, ok := p.client(first, xffAddress)
	if len(second) == 0 {
		return orPeer(client, ok, peer)
	}
	other, okToo := p.client(second, forwardedAddress)
	if len(first) == 0 {
		return orPeer(other, okToo, peer)
	}
	return orPeer(client, ok && okToo && client == other, peer)
}

func orPeer(client netip.Addr, ok bool, peer netip.Addr) netip.Addr {
	if !ok {
		return peer
	}
	return client
}

func (p Proxies) trust(a netip.Addr) bool {
	return a.IsValid() && slices.ContainsFunc(p, func(of netip.Prefix) bool { return of.Contains(a) })
}

// client walks a list from its end, where the nearest proxy added to it, to the first address that is no proxy's. What stands before that is the client's own
// say and is not read. If all are proxies', the first one asks for itself.
func (p Proxies) client(lines []string, read func(element string) (netip.Addr, bool)) (client netip.Addr, ok bool) {
	for _, line := range slices.Backward(lines) {
		for line != "" {
			at := strings.LastIndexByte(line, ',')
			if client, ok = read(line[at+1:]); !ok || !p.trust(client) {
				return client, ok
			}
			line = line[:max(at, 0)]
		}
	}
	return client, ok
}

// xffAddress reads one element of X-Forwarded-For.
func xffAddress(element string) (netip.Addr, bool) { return canonical.Address(element) }

// forwardedAddress reads the `for` of one element of Forwarded (RFC 7239): `for="[2001:db8::1]:4711";proto=https`.
func forwardedAddress(element string) (netip.Addr, bool) {
	for part := range strings.SplitSeq(element, ";") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || !strings.EqualFold(name, "for") {
			continue
		}
		if inner, quoted := strings.CutPrefix(value, `"`); quoted {
			if value, ok = strings.CutSuffix(inner, `"`); !ok {
				return netip.Addr{}, false
			}
		}
		return canonical.Address(value)
	}
	return netip.Addr{}, false
}
