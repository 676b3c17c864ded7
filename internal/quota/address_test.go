package quota

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

var proxies = Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ffff::/48")}

func request(peer string, headers ...string) *http.Request {
	r := &http.Request{RemoteAddr: peer, Header: make(http.Header)}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func TestAddressOf(t *testing.T) {
	const xff, forwarded, proxy = "X-Forwarded-For", "Forwarded", "10.0.0.1:443"
	for _, test := range []struct {
		name    string
		peer    string
		headers []string
		want    string
	}{
		{"no proxy", "203.0.113.9:1234", nil, "203.0.113.9"},
		{"the word of somebody who is no proxy", "203.0.113.9:1234", []string{xff, "198.51.100.1", forwarded, "for=198.51.100.1"}, "203.0.113.9"},
		{"IPv4 in IPv6", "[::ffff:203.0.113.9]:1234", nil, "203.0.113.9"},
		{"IPv6", "[2001:db8::1]:1234", nil, "2001:db8::1"},
		{"IPv6 with a zone", "[fe80::1%eth0]:1234", nil, "fe80::1"},
		{"one proxy", proxy, []string{xff, "203.0.113.9"}, "203.0.113.9"},
		{"one proxy, seen in IPv6", "[::ffff:10.0.0.1]:443", []string{xff, "203.0.113.9"}, "203.0.113.9"},
		{"the client says something, too", proxy, []string{xff, "198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
		{"the client names the proxy", proxy, []string{xff, "10.0.0.1, 203.0.113.9"}, "203.0.113.9"},
		{"two proxies", proxy, []string{xff, "198.51.100.1, 203.0.113.9, 10.2.3.4"}, "203.0.113.9"},
		{"lines in their order", proxy, []string{xff, "198.51.100.1", xff, "203.0.113.9", xff, "10.2.3.4"}, "203.0.113.9"},
		{"with a port", proxy, []string{xff, "203.0.113.9:5555"}, "203.0.113.9"},
		{"IPv6 in brackets, with a port", proxy, []string{xff, "[2001:db8::2]:5555"}, "2001:db8::2"},
		{"a proxy asks for itself", proxy, []string{xff, "10.9.9.9"}, "10.9.9.9"},
		{"a word", proxy, []string{xff, "unknown"}, "10.0.0.1"},
		{"rubbish behind an address", proxy, []string{xff, "203.0.113.9, x"}, "10.0.0.1"},
		{"nothing behind a comma", proxy, []string{xff, "203.0.113.9,"}, "10.0.0.1"},
		{"nothing", proxy, []string{xff, ""}, "10.0.0.1"},
		{"no header", proxy, nil, "10.0.0.1"},
		{"unspecified", proxy, []string{xff, "0.0.0.0"}, "10.0.0.1"},
		{"Forwarded", proxy, []string{forwarded, `for=203.0.113.9;proto=https;by=10.0.0.1`}, "203.0.113.9"},
		{"Forwarded in capitals, quoted, with a port", proxy, []string{forwarded, `For="[2001:db8::2]:4711"`}, "2001:db8::2"},
		{"Forwarded with what the client says", proxy, []string{forwarded, `for=198.51.100.1, for=203.0.113.9`}, "203.0.113.9"},
		{"Forwarded with a quote that the client opened", proxy, []string{forwarded, `for="198.51.100.1, for=203.0.113.9`}, "203.0.113.9"},
		{"Forwarded hides the client", proxy, []string{forwarded, `for=_hidden`}, "10.0.0.1"},
		{"Forwarded with a quote that is not closed", proxy, []string{forwarded, `for="203.0.113.9`}, "10.0.0.1"},
		{"Forwarded without for", proxy, []string{forwarded, `proto=https`}, "10.0.0.1"},
		{"both say the same", proxy, []string{xff, "203.0.113.9", forwarded, "for=203.0.113.9"}, "203.0.113.9"},
		{"one of both is the client's", proxy, []string{xff, "203.0.113.9", forwarded, "for=198.51.100.1"}, "10.0.0.1"},
		{"one of both cannot be read", proxy, []string{xff, "203.0.113.9", forwarded, "x"}, "10.0.0.1"},
		{"no connection", "", nil, "invalid IP"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := proxies.AddressOf(request(test.peer, test.headers...)).String(); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// FuzzAddressOf: whatever a client sends in any header, a proxy's word is what counts behind one, and nobody's elsewhere.
func FuzzAddressOf(f *testing.F) {
	f.Add("198.51.100.1", "for=198.51.100.1", uint32(0x01020304))
	f.Add(`for="[::1]`, `"`, uint32(0xffffffff))
	f.Add(", ,,", "10.0.0.1", uint32(1))
	f.Fuzz(func(t *testing.T, one, two string, ip uint32) {
		client := netip.AddrFrom4([4]byte{11 + byte(ip>>24)%100, byte(ip >> 16), byte(ip >> 8), byte(ip)}) // no proxy's
		spoof := func(r *http.Request) *http.Request {
			r.Header["X-Forwarded-For"] = append([]string{one, two}, r.Header["X-Forwarded-For"]...)
			return r
		}
		if got := proxies.AddressOf(spoof(request(netip.AddrPortFrom(client, 1).String(), "Forwarded", two))); got != client {
			t.Errorf("without a proxy: %v, want %v", got, client)
		}
		for _, r := range []*http.Request{
			spoof(request("10.0.0.1:1", "X-Forwarded-For", client.String())),
			request("10.0.0.1:1", "X-Forwarded-For", one+","+two+", "+client.String()),
			request("10.0.0.1:1", "Forwarded", one+","+two+",for="+client.String()),
		} {
			if got := proxies.AddressOf(r); got != client {
				t.Errorf("behind a proxy: %v, want %v", got, client)
			}
		}
		both := proxies.AddressOf(request("10.0.0.1:1", "X-Forwarded-For", one+","+client.String(), "Forwarded", two))
		if both != client && both.String() != "10.0.0.1" {
			t.Errorf("with both headers: %v, want %v or the proxy", both, client)
		}
		alone := proxies.AddressOf(request("10.0.0.1:1", "X-Forwarded-For", one))
		if !alone.IsValid() || strings.Contains(alone.String(), "%") {
			t.Errorf("alone: %v", alone)
		}
	})
}
