package canonical

import (
	"net/netip"
	"strings"
)

// maxIP is the longest text of an address, with a prefix length.
const maxIP = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/64")

// IP is the shortest text of one IP address, without port, brackets and zone. An IPv4 address in IPv6's clothes (::ffff:192.0.2.1) is the IPv4 address.
// False: s is not one address. A list is none, since nobody knows which of its addresses is the person's; neither is the unspecified address.
func IP(s string) (text string, ok bool) {
	addr, ok := Address(s)
	if !ok {
		return "", false
	}
	var buf [maxIP]byte
	written := addr.AppendTo(buf[:0])
	if string(written) == s {
		return s, true
	}
	return string(written), true
}

// Address is the address that IP writes.
func Address(s string) (addr netip.Addr, ok bool) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		addr, err = parseLoose(strings.TrimSpace(s))
	}
	addr = addr.Unmap().WithZone("")
	return addr, err == nil && !addr.IsUnspecified()
}

// parseLoose reads an address with a port, or in brackets.
func parseLoose(s string) (netip.Addr, error) {
	if with, err := netip.ParseAddrPort(s); err == nil {
		return with.Addr(), nil
	}
	if inner, bracketed := strings.CutPrefix(s, "["); bracketed {
		s = strings.TrimSuffix(inner, "]")
	}
	return netip.ParseAddr(s)
}

// networkBits is how much of an IPv6 address names a household: what stands behind it changes by the day, and the person at will.
const networkBits = 64

// AppendNetwork appends what counts as one address of the network: an IPv4 address itself, the first 64 bits of an IPv6 one. ip is of the form that IP gives;
// anything else is appended as it is.
func AppendNetwork(to []byte, ip string) []byte {
	if strings.IndexByte(ip, ':') < 0 {
		return append(to, ip...)
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return append(to, ip...)
	}
	prefix, err := addr.Prefix(networkBits)
	if err != nil {
		return append(to, ip...)
	}
	return prefix.AppendTo(to)
}

// Network is what counts as one address of the network, as its first address. addr is one that Address gives.
func Network(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	prefix, err := addr.Prefix(networkBits)
	if err != nil {
		return addr
	}
	return prefix.Addr()
}
