package canonical

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	leastDigits = 7
	mostDigits  = 15 // of E.164, the country's code included
)

// Phone is a telephone number as E.164 has it: +, the country's code, and digits. A number in a country's own notation ("020 7946 0958") is completed by that
// country, an ISO 3166 code. Without one it stays its digits, and is not complete. An extension is left out. Not ok: it is no number.
func Phone(s, country string) (number string, complete, ok bool) {
	if isPlainPhone(s) {
		return s, true, true
	}
	digits, plus, ok := dial(s)
	if !ok {
		return "", false, false
	}
	plan, known := plans[country]
	switch {
	case plus:
	case known && plan.abroad != "" && strings.HasPrefix(digits, plan.abroad):
		digits, plus = digits[len(plan.abroad):], true
	case strings.HasPrefix(digits, "00"):
		digits, plus = digits[2:], true
	}
	if !plus && !known {
		return digits, false, len(digits) >= leastDigits && len(digits) <= mostDigits
	}
	if !plus {
		digits = plan.code + strings.TrimPrefix(digits, plan.trunkOf(digits))
	} else if digits, ok = international(digits); !ok {
		return "", false, false
	}
	if len(digits) < leastDigits || len(digits) > mostDigits {
		return "", false, false
	}
	return "+" + digits, true, true
}

// isPlainPhone tells whether s has the canonical form already.
func isPlainPhone(s string) bool {
	if len(s) <= leastDigits || len(s) > mostDigits+1 || s[0] != '+' || !within(s[1:], '0', '9') {
		return false
	}
	code := codeOf(s[1:])
	return code != "" && (!trunkAbroad[code] || s[1+len(code)] != '0')
}

// dial reads what a telephone dials: digits, in whatever script, and whether a plus stood before them. A zero in brackets behind a plus is for those who
// call from within the country.
func dial(s string) (digits string, plus, ok bool) {
	s = strings.TrimSpace(s)
	if scheme := "tel:"; len(s) > len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
		s = s[len(scheme):]
	}
	if s = withoutExtension(strings.TrimSpace(s)); strings.HasPrefix(s, "+") || strings.HasPrefix(s, "＋") {
		plus, s = true, strings.ReplaceAll(s, "(0)", "")
	}
	out := make([]byte, 0, mostDigits+1)
	for i, r := range s {
		switch {
		case unicode.Is(unicode.Nd, r):
			out = append(out, '0'+digitOf(r))
		case r == '+' || r == '＋':
			if i > 0 {
				return "", false, false
			}
		case unicode.IsSpace(r), unicode.In(r, unicode.Pd, unicode.Ps, unicode.Pe, unicode.Cf), strings.ContainsRune("./·~", r):
		default:
			return "", false, false
		}
	}
	return string(out), plus, len(out) > 0
}

// withoutExtension cuts off what a switchboard is asked for: "ext. 12", "x12", ";ext=12", "#12".
func withoutExtension(s string) string {
	at := strings.IndexAny(s, "xX#;,eE")
	if at <= 0 {
		return s
	}
	return strings.TrimSpace(s[:at])
}

// digitOf is the value of a decimal digit of any script: Unicode has the ten of each side by side.
func digitOf(r rune) byte {
	if r < utf8.RuneSelf {
		return byte(r - '0')
	}
	for _, ten := range unicode.Nd.R16 {
		if low := rune(ten.Lo); low <= r && r <= rune(ten.Hi) {
			return byte((r - low) % 10)
		}
	}
	for _, ten := range unicode.Nd.R32 {
		if low := rune(ten.Lo); low <= r && r <= rune(ten.Hi) {
			return byte((r - low) % 10)
		}
	}
	return 0
}

// international reads a number that begins with a country's code. People leave the country's own first 0 in it, which nobody abroad dials.
func international(digits string) (string, bool) {
	code := codeOf(digits)
	if code == "" {
		return "", false
	}
	if trunkAbroad[code] {
		return code + strings.TrimLeft(digits[len(code):], "0"), true
	}
	return digits, true
}

// codeOf is the country's code at the beginning of a number: no code begins another.
func codeOf(digits string) string {
	for n := 1; n <= 3 && n <= len(digits); n++ {
		if _, known := trunkOfCode[digits[:n]]; known {
			return digits[:n]
		}
	}
	return ""
}

// plan is how a country numbers its telephones.
type plan struct {
	code   string
	trunk  string // what is dialled before a number within the country
	whole  int    // digits of a number with its trunk prefix, where the prefix may also begin a number; else 0
	abroad string // what is dialled before a number abroad, where that is not 00
}

// trunkOf is the trunk prefix that a number in the country's own notation has.
func (p plan) trunkOf(digits string) string {
	if p.whole != 0 && len(digits) != p.whole {
		return ""
	}
	return p.trunk
}

// numbering lists the countries by trunk prefix: ISO 3166 code and calling code. Of 1,467 spellings of libphonenumber's example numbers (v1.8.1 of its Go form) all
// but one have the form that it gives them: Argentina's 15 of mobile numbers is left where it stands.
var numbering = []struct {
	trunk     string
	whole     int
	countries string
}{
	{"0", 0, "AE971 AF93 AL355 AM374 AR54 AT43 AU61 AX358 AZ994 BA387 BD880 BE32 BG359 BL590 BO591 BR55 CC61 CD243 CH41 CN86 CU53 CX61 DE49 DZ213 EC593 EG20 EH212 " +
		"ER291 ET251 FI358 FR33 GB44 GE995 GF594 GG44 GH233 GP590 HR385 ID62 IE353 IL972 IM44 IN91 IQ964 IR98 JE44 JO962 JP81 KE254 KG996 KH855 KP850 KR82 LA856 LB961 " +
		"LK94 LR231 LT370 LY218 MA212 MC377 MD373 ME382 MF590 MG261 MK389 MM95 MN976 MQ596 MW265 MY60 NA264 NG234 NL31 NP977 NZ64 PE51 PH63 PK92 PM508 PS970 PY595 RE262 " +
		"RO40 RS381 RW250 SA966 SD249 SE46 SI386 SK421 SL232 SS211 SY963 TH66 TR90 TW886 TZ255 UA380 UG256 UY598 VE58 VN84 XK383 YE967 YT262 ZA27 ZM260 ZW263"},
	{"06", 0, "HU36"},
	{"80", 0, "BY375"},
	{"8", 11, "RU7 KZ7"},
	{"8", 9, "TM993"},
	{"1", 11, "US1 CA1 AG1 AI1 AS1 BB1 BM1 BS1 DM1 DO1 GD1 GU1 JM1 KN1 KY1 LC1 MP1 MS1 PR1 SX1 TC1 TT1 VC1 VG1 VI1"},
	{"", 0, "AC247 AD376 AO244 AW297 BF226 BH973 BI257 BJ229 BN673 BQ599 BT975 BW267 BZ501 CF236 CG242 CI225 CK682 CL56 CM237 CO57 CR506 CV238 CW599 CY357 CZ420 DJ253 " +
		"DK45 EE372 ES34 FJ679 FK500 FM691 FO298 GA241 GI350 GL299 GM220 GN224 GQ240 GR30 GT502 GW245 GY592 HK852 HN504 HT509 IO246 IS354 IT39 KI686 KM269 KW965 LI423 " +
		"LS266 LU352 LV371 MH692 ML223 MO853 MR222 MT356 MU230 MV960 MX52 MZ258 NC687 NE227 NF672 NI505 NO47 NR674 NU683 OM968 PA507 PF689 PG675 PL48 PT351 PW680 QA974 " +
		"SB677 SC248 SG65 SH290 SJ47 SM378 SN221 SO252 SR597 ST239 SV503 SZ268 TA290 TD235 TG228 TJ992 TK690 TL670 TN216 TO676 TV688 UZ998 VA39 VU678 WF681 WS685"},
}

// worldwide are calling codes of no country.
var worldwide = []string{"800", "808", "870", "878", "881", "882", "883", "888", "979"}

// abroad are the prefixes of numbers abroad other than 00.
var abroad = map[string]string{"1": "011", "61": "0011", "81": "010", "7": "810", "375": "810", "993": "810"}

var (
	plans       = make(map[string]plan)   // by country
	trunkOfCode = make(map[string]string) // by calling code
	trunkAbroad = make(map[string]bool)   // calling codes: no number of theirs begins with the trunk prefix 0
)

func init() {
	for _, code := range worldwide {
		trunkOfCode[code] = ""
	}
	for _, group := range numbering {
		for _, entry := range strings.Fields(group.countries) {
			code := entry[2:]
			plans[entry[:2]] = plan{code: code, trunk: group.trunk, whole: group.whole, abroad: abroad[code]}
			trunkOfCode[code] = group.trunk
			trunkAbroad[code] = group.trunk == "0"
		}
	}
}
