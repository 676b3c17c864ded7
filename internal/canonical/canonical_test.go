package canonical

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
)

func TestForms(t *testing.T) {
	phone := func(country string) func(string) (string, bool) {
		return func(s string) (string, bool) {
			number, complete, ok := Phone(s, country)
			if ok && !complete {
				number += " incomplete"
			}
			return number, ok
		}
	}
	for _, c := range []struct {
		name      string
		form      func(string) (string, bool)
		want      string // empty: there is none
		spellings []string
	}{
		{"IPv6", IP, "2001:db8::1", []string{"2001:db8::1", "2001:DB8::1", "2001:db8:0:0:0:0:0:1", "[2001:db8::1]", "[2001:db8::1]:443", " 2001:0db8::0001 ", "2001:db8::1%eth0"}},
		{"IPv4", IP, "203.0.113.5", []string{"203.0.113.5", "::ffff:203.0.113.5", "::FFFF:cb00:7105", "203.0.113.5:51234", "[::ffff:203.0.113.5]:1", "\t203.0.113.5"}},
		{"no address", IP, "", []string{"203.0.113.5, 10.0.0.1", "unknown", "", "::", "0.0.0.0", "::ffff:0.0.0.0", "203.0.113.005", "localhost", "1.2.3", "300.1.1.1", "_hidden"}},
		{"e-mail", Email, "ada@example.com", []string{
			"ada@example.com", "Ada@Example.COM", " ada@example.com\n", "mailto:ada@example.com", "Ada Lovelace <ada@example.com>", "ada@example.com.", "ａｄａ＠ｅｘａｍｐｌｅ．ｃｏｍ",
		}},
		{"tag and dots", Email, "a.d.a+shop@example.com", []string{"a.d.a+shop@example.com", "A.D.A+Shop@example.com"}},
		{"domain of letters", Email, "ada@xn--mller-kva.example", []string{"ada@müller.example", "ada@mu\u0308ller.example", "ada@XN--MLLER-KVA.example", "ADA@MÜLLER.example"}},
		{"a long e-mail", Email, strings.Repeat("a", 242) + "@example.com", []string{strings.Repeat("A", 242) + "@example.com"}},
		{"an e-mail that is too long", Email, "", []string{strings.Repeat("a", 243) + "@example.com", strings.Repeat("\ufb03", 81) + "@example.com", "ada@" + strings.Repeat("müller.", 30) + "example"}},
		{"no e-mail", Email, "", []string{"ada", "@example.com", "ada@", "a b@example.com", "ada@exam ple.com", "ada@@", "x@a@", "null"}},
		{"British", phone("GB"), "+442079460958", []string{
			"+442079460958", "+44 20 7946 0958", "+44 (0)20 7946 0958", "0044 20 7946 0958", "020 7946 0958", "(020) 7946-0958", "tel:+44-20-7946-0958", "+4402079460958",
			"＋４４ ２０ ７９４６ ０９５８", "+44 20 7946 0958 ext. 12", "020 7946 0958 x12", "+٤٤٢٠٧٩٤٦٠٩٥٨",
		}},
		{"American", phone("US"), "+12025550143", []string{"+1 202 555 0143", "(202) 555-0143", "1-202-555-0143", "202.555.0143", "+12025550143"}},
		{"Italian", phone("IT"), "+39066982", []string{"+39 06 6982", "06 6982", "0039 06 6982"}},
		{"Russian", phone("RU"), "+79123456789", []string{"+7 912 345-67-89", "8 912 345-67-89", "810 7 912 345 67 89"}},
		{"Belarusian", phone("BY"), "+375294911911", []string{"+375 29 491-19-11", "8 029 491-19-11"}},
		{"Ascension", phone("AC"), "+24762889", []string{"+247 62889", "62889"}},
		{"of no country", phone(""), "02079460958 incomplete", []string{"020 7946 0958", "(020)7946-0958"}},
		{"no number", phone("GB"), "", []string{"", "call me", "123", "+999999999999", "+44", "1-800-FLOWERS", "020 7946 0958 020 7946 0958", "12+34567890"}},
		{"country", Country, "GB", []string{"GB", "gb", "GBR", "gbr", "826", " GB ", "UK"}},
		{"no country", Country, "", []string{"", "United Kingdom", "EU", "ZZ", "QX", "G", "001", "12"}},
		{"currency", Currency, "GBP", []string{"GBP", "gbp", " gbp "}},
		{"no currency", Currency, "", []string{"", "GBp", "£", "GB", "GBPX", "826"}},
	} {
		for _, s := range c.spellings {
			got, ok := c.form(s)
			if got != c.want || ok != (c.want != "") {
				t.Errorf("%s: %q becomes %q, %v; want %q", c.name, s, got, ok, c.want)
			}
		}
	}
}

func TestNetwork(t *testing.T) {
	for ip, want := range map[string]string{"203.0.113.5": "203.0.113.5", "2001:db8::1": "2001:db8::/64", "2001:db8:0:0:ffff::1": "2001:db8::/64", "2001:db8:0:1::1": "2001:db8:0:1::/64", "x:y": "x:y"} {
		if got := string(AppendNetwork([]byte("a"), ip)); got != "a"+want {
			t.Errorf("%s: got %q, want %q behind an a", ip, got, want)
		}
	}
}

func TestRegionOf(t *testing.T) {
	for locale, want := range map[string]string{"en-GB": "GB", "zh_Hans_CN": "CN", "zh-Hans-cn": "CN", "en": "", "": "", "en-US-u-hc-h12": "US"} {
		if got := RegionOf(locale); got != want {
			t.Errorf("%s: got %q, want %q", locale, got, want)
		}
	}
}

func TestPlaceholders(t *testing.T) {
	p := NewPlaceholders([]string{"null", "undefined", `\N`, "[object Object]", "NaN", "none", "-", " ", ""})
	for _, word := range []string{"null", "NULL", " Null ", "undefined", `\N`, `\n`, "[object Object]", "[OBJECT OBJECT]", "nan", "None", "-", " ", "\t\u00a0", "\u00a0null"} {
		if !p.Has(word) {
			t.Errorf("%q must be a placeholder", word)
		}
	}
	for _, id := range []string{"", "0", "-1", "nullable", "n", "u1", "none1", "Nanette", "--", strings.Repeat("n", 300), "нуль", "ﬁ"} {
		if p.Has(id) {
			t.Errorf("%q must be no placeholder", id)
		}
	}
	if (*Placeholders)(nil).Has("null") {
		t.Error("no set has no word")
	}
}

func TestSearch(t *testing.T) {
	for want, spellings := range map[string][]string{
		"cafe zurich": {"Café Zürich", "Cafe\u0301 Zu\u0308rich", "CAFE ZURICH", "cafe zurich"},
		"led lamp":    {"ＬＥＤ lamp", "LED Lamp"},
		"캘린더":         {"캘린더", norm.NFD.String("캘린더")},
		"काली साड़ी":  {"काली साड़ी", norm.NFD.String("काली साड़ी"), norm.NFC.String("काली साड़ी")},
		"strasse":     {"Straße", "STRASSE", "straße"},
		"smorrebrod":  {"Smørrebrød", "smorrebrød"},
		"ελλασ":       {"Ελλάς", "ΕΛΛΑΣ", "ελλάσ"},
		"ёлка":        {"Ёлка", "е\u0308лка"},
	} {
		for _, s := range spellings {
			if got := Search(s); got != norm.NFC.String(want) {
				t.Errorf("%q becomes %q, want %q", s, got, want)
			}
		}
	}
	if Search("काली") == Search("कोल") {
		t.Error("Hindi vowels tell words apart")
	}
}

var kept string // a result that is looked at

// TestCanonicalAllocatesNothing: what has its form already costs no memory.
func TestCanonicalAllocatesNothing(t *testing.T) {
	p := NewPlaceholders([]string{"null", "undefined"})
	var buf [64]byte
	for name, do := range map[string]func(){
		"text": func() { Text("desk lamp") }, "accents": func() { Text("café") }, "IPv4": func() { IP("203.0.113.5") }, "IPv6": func() { IP("2001:db8::1") },
		"network": func() { AppendNetwork(buf[:0], "2001:db8::1") }, "e-mail": func() { Email("ada@example.com") }, "phone": func() { Phone("+442079460958", "GB") },
		"country": func() { Country("GB") }, "currency": func() { kept, _ = Currency("GBP") }, "search": func() { Search("desk lamp") },
		"identifier": func() { p.Has("u-12345") }, "like one": func() { p.Has("nullable") },
	} {
		if n := testing.AllocsPerRun(100, do); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkCanonical(b *testing.B) {
	p := NewPlaceholders([]string{"null", "undefined", "none", "-"})
	for _, c := range []struct {
		name string
		do   func()
	}{
		{"text", func() { Text("café crème") }},
		{"ip4", func() { IP("203.0.113.5") }},
		{"ip6", func() { IP("2001:db8::1") }},
		{"email", func() { Email("ada@example.com") }},
		{"phone", func() { Phone("+442079460958", "GB") }},
		{"country", func() { Country("GB") }},
		{"currency", func() { kept, _ = Currency("GBP") }},
		{"placeholder", func() { p.Has("u-12345") }},
		{"search", func() { Search("desk lamp") }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.do()
			}
		})
	}
}

// same checks that spellings have one form, which is its own form.
func same(t *testing.T, form func(string) (string, bool), spellings ...string) {
	t.Helper()
	want, ok := form(spellings[0])
	for _, s := range spellings {
		got, is := form(s)
		if got != want || is != ok {
			t.Fatalf("%q becomes %q, %v; %q becomes %q, %v", spellings[0], want, ok, s, got, is)
		}
	}
	if again, is := form(want); ok && (again != want || !is) {
		t.Fatalf("%q becomes %q, and that %q", spellings[0], want, again)
	}
}

func textForm(s string) (string, bool)   { return Text(s), true }
func searchForm(s string) (string, bool) { return Search(s), true }

// FuzzSpellings: every way to write one address, person or text has one form, whatever bytes it is made of.
func FuzzSpellings(f *testing.F) {
	for _, s := range []string{"203.0.113.5", "Ada Lovelace", "café", "काली साड़ी", "캘린더", "ﬁ ǅ İ", "x\u0300\u0316", "\xff\xfe", "ada@müller.de"} {
		f.Add(s, uint64(1), uint64(0x20010db800000001))
	}
	f.Fuzz(func(t *testing.T, s string, a, b uint64) {
		fuzzAddress(t, a, b)
		fuzzPhone(t, a, b)
		fuzzText(t, s)
		fuzzEmail(t, s)
	})
}

func fuzzAddress(t *testing.T, a, b uint64) {
	t.Helper()
	if v4 := uint32(a); v4 != 0 {
		plain := fmt.Sprintf("%d.%d.%d.%d", v4>>24, v4>>16&255, v4>>8&255, v4&255)
		same(t, IP, plain, "::ffff:"+plain, "::FFFF:"+plain, fmt.Sprintf("::ffff:%x:%x", v4>>16, v4&0xffff), fmt.Sprintf("%s:%d", plain, b&0xffff), " "+plain+"\n",
			fmt.Sprintf("[::ffff:%s]:%d", plain, b&0xffff), fmt.Sprintf("0:0:0:0:0:FFFF:%04X:%04x", v4>>16, v4&0xffff))
	}
	if a>>32 != 0 {
		part := func(n uint64, i int) uint64 { return n >> (48 - 16*i) & 0xffff }
		long := fmt.Sprintf("%04x:%04x:%04x:%04x:%04x:%04x:%04x:%04x", part(a, 0), part(a, 1), part(a, 2), part(a, 3), part(b, 0), part(b, 1), part(b, 2), part(b, 3))
		bare := fmt.Sprintf("%X:%x:%X:%x:%X:%x:%X:%x", part(a, 0), part(a, 1), part(a, 2), part(a, 3), part(b, 0), part(b, 1), part(b, 2), part(b, 3))
		same(t, IP, long, bare, "["+bare+"]", "["+long+"]:80", long+"%wlan0", "\t"+strings.ToUpper(long))
		one, _ := IP(long)
		two, _ := IP(fmt.Sprintf("%x:%x:%x:%x:1::2", part(a, 0), part(a, 1), part(a, 2), part(a, 3)))
		if x, y := string(AppendNetwork(nil, one)), string(AppendNetwork(nil, two)); x != y {
			t.Fatalf("%s and %s are of one network, not %s and %s", one, two, x, y)
		}
	}
}

func fuzzPhone(t *testing.T, a, b uint64) {
	t.Helper()
	countries := []string{"GB", "DE", "FR", "CN", "JP", "US", "IT", "ES", "IN", "AU", "PL"}
	country := countries[a%uint64(len(countries))]
	plan := plans[country]
	number := strconv.FormatUint(2_000_000_000+b%7_000_000_000, 10) // ten digits from 2 on: the first is nobody's prefix
	full := "+" + plan.code + number
	form := func(s string) (string, bool) { n, complete, ok := Phone(s, country); return n, complete && ok }
	split := 1 + int(a>>8%8)
	spaced := number[:split] + "-" + number[split:]
	same(t, form, full, "+"+plan.code+" "+spaced, "tel:"+full, plan.trunk+spaced, full+" ext. 7", "+ "+plan.code+" ("+number[:split]+") "+number[split:])
	if plan.abroad == "" {
		same(t, form, full, "00"+plan.code+spaced)
	} else {
		same(t, form, full, plan.abroad+plan.code+spaced)
	}
	if plan.trunk == "0" {
		same(t, form, full, "+"+plan.code+" (0)"+spaced, "+"+plan.code+"0"+number)
	}
	if got, _ := form(full); got != full {
		t.Fatalf("%s becomes %s", full, got)
	}
}

func fuzzText(t *testing.T, s string) {
	t.Helper()
	s = strings.ToValidUTF8(s, "")
	same(t, textForm, s, norm.NFC.String(s), norm.NFD.String(s))
	same(t, searchForm, s, norm.NFC.String(s), norm.NFD.String(s), norm.NFKC.String(s), norm.NFKD.String(s))
	for _, form := range []func(string) (string, bool){IP, Email, Country, Currency} {
		if got, ok := form(s); ok {
			same(t, form, s, got)
		}
	}
	if number, complete, ok := Phone(s, "GB"); ok && complete {
		same(t, func(s string) (string, bool) { n, _, ok := Phone(s, "GB"); return n, ok }, s, number)
	}
}

func fuzzEmail(t *testing.T, s string) {
	t.Helper()
	local := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' {
			return r
		}
		return -1
	}, strings.ToLower(s))
	if local == "" || len(local) > 64 {
		return
	}
	address := local + "@example.com"
	same(t, Email, address, strings.ToUpper(address), " "+address+"\r\n", "mailto:"+address, "MAILTO:"+address, "Somebody <"+address+">", address+".", local+" @ Example.com")
}
