package collector

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tokenOf signs a header and a payload as they are.
func tokenOf(key ed25519.PrivateKey, header, payload string) string {
	part := base64.RawURLEncoding.EncodeToString
	text := part([]byte(header)) + "." + part([]byte(payload))
	return text + "." + part(ed25519.Sign(key, []byte(text)))
}

// withoutSignature leaves the signature out, and the dot in front of it.
func withoutSignature(token string) string { return token[:strings.LastIndexByte(token, '.')+1] }

func askWith(token string) *http.Request {
	return &http.Request{Header: http.Header{userTokenHeader: {token}}}
}

// TestTokenClaims: every claim is held to what it must be, and the error names it and no value.
func TestTokenClaims(t *testing.T) {
	public, private := keyPair(t)
	_, stranger := keyPair(t)
	const eddsa = `{"alg":"EdDSA","kid":"any","typ":"JWT"}`
	at := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).Unix(), 10) }
	good := `"sub":"ada","iss":"https://shop.example","aud":"sluice","exp":` + at(time.Hour)
	tokens := NewTokens(&Config{UserKeys: []ed25519.PublicKey{public}, Leeway: 30 * time.Second, Issuer: "https://shop.example", Audience: "sluice"}, func() time.Time { return now })
	plain := NewTokens(&Config{UserKeys: []ed25519.PublicKey{public}}, func() time.Time { return now })
	without := func(claim string) string {
		var kept []string
		for _, c := range strings.Split(good, ",") {
			if !strings.HasPrefix(c, `"`+claim+`"`) {
				kept = append(kept, c)
			}
		}
		return "{" + strings.Join(kept, ",") + "}"
	}
	for _, c := range []struct{ name, token, want string }{
		{"good", tokenOf(private, eddsa, "{"+good+"}"), ""},
		{"among the audiences", tokenOf(private, eddsa, `{"aud":["other","sluice"],`+without("aud")[1:]), ""},
		{"a little late", tokenOf(private, eddsa, `{"exp":`+at(-20*time.Second)+","+without("exp")[1:]), ""},
		{"issued a little ahead", tokenOf(private, eddsa, `{"iat":`+at(20*time.Second)+`,"nbf":`+at(20*time.Second)+","+good+"}"), ""},
		{"expired", tokenOf(private, eddsa, `{"exp":`+at(-time.Minute)+","+without("exp")[1:]), "exp must be later than now"},
		{"without exp", tokenOf(private, eddsa, without("exp")), "exp must be there"},
		{"exp under another name", tokenOf(private, eddsa, `{"EXP":`+at(time.Hour)+","+without("exp")[1:]), "exp must be there"},
		{"exp of a text", tokenOf(private, eddsa, `{"exp":"soon",`+without("exp")[1:]), "each claim must be of the type that RFC 7519 gives it"},
		{"not yet", tokenOf(private, eddsa, `{"nbf":`+at(time.Minute)+","+good+"}"), "nbf must not be later than now"},
		{"issued later", tokenOf(private, eddsa, `{"iat":`+at(time.Minute)+","+good+"}"), "iat must not be later than now"},
		{"without iss", tokenOf(private, eddsa, without("iss")), "iss must be there"},
		{"another issuer's", tokenOf(private, eddsa, `{"iss":"https://shop.example.evil",`+without("iss")[1:]), "iss must be collector.user_token.issuer"},
		{"without aud", tokenOf(private, eddsa, without("aud")), "aud must be there"},
		{"for another audience", tokenOf(private, eddsa, `{"aud":["billing"],`+without("aud")[1:]), "aud must have collector.user_token.audience"},
		{"without sub", tokenOf(private, eddsa, without("sub")), "sub must be the user id"},
		{"sub of a number", tokenOf(private, eddsa, `{"sub":7,`+without("sub")[1:]), "sub must be the user id"},
		{"sub under another name", tokenOf(private, eddsa, `{"SUB":"mallory",`+without("sub")[1:]), "sub must be the user id"},
		{"an extension", tokenOf(private, `{"alg":"EdDSA","crit":["exp"],"exp":1}`, "{"+good+"}"), "crit must not be in the token's header: no extension is known"},
		{"no extension", tokenOf(private, `{"alg":"EdDSA","crit":[]}`, "{"+good+"}"), "crit must not be in the token's header: no extension is known"},
		{"unsigned", tokenOf(private, `{"alg":"none"}`, "{"+good+"}"), string(unsigned)},
		{"unsigned, without a signature", withoutSignature(tokenOf(private, `{"alg":"none"}`, "{"+good+"}")), string(unsigned)},
		{"symmetric", tokenOf(private, `{"alg":"HS256"}`, "{"+good+"}"), string(unsigned)},
		{"an algorithm that is none", tokenOf(private, `{"alg":"nOnE"}`, "{"+good+"}"), string(unsigned)},
		{"a stranger's", tokenOf(stranger, eddsa, "{"+good+"}"), string(unsigned)},
		{"no JWT", "x", "the token must be a JWT: three parts of base64url without padding, the first two JSON objects"},
		{"no object", tokenOf(private, eddsa, `"ada"`), "the token must be a JWT: three parts of base64url without padding, the first two JSON objects"},
		{"nothing", tokenOf(private, eddsa, `null`), "exp must be there"},
	} {
		id, err := tokens.User(askWith(c.token))
		if got := fmt.Sprint(err); c.want == "" && (err != nil || id != "ada") || c.want != "" && (got != c.want || id != "") {
			t.Errorf("%s: %q, %v; want %q", c.name, id, err, c.want)
		}
	}
	if id, err := plain.User(askWith(tokenOf(private, eddsa, `{"sub":"ada","exp":`+at(time.Hour)+`}`))); id != "ada" || err != nil {
		t.Errorf("where no issuer and no audience are configured: %q, %v", id, err)
	}
	if _, err := tokens.User(&http.Request{}); !errors.Is(err, ErrNoToken) {
		t.Errorf("without a token: %v", err)
	}
	none := NewTokens(new(Config), func() time.Time { return now })
	if id, err := none.User(askWith(tokenOf(private, eddsa, "{"+good+"}"))); !errors.Is(err, unsigned) || id != "" {
		t.Errorf("without a key: %q, %v", id, err)
	}
}

// FuzzToken: whatever the header and the claims are, a token that counts is one that an independent reader takes for valid, and an error holds no value of it.
func FuzzToken(f *testing.F) {
	public, private := keyPair(f)
	tokens := NewTokens(&Config{UserKeys: []ed25519.PublicKey{public}, Issuer: "i", Audience: "a"}, func() time.Time { return now })
	valid := fmt.Sprintf(`{"sub":"ada","iss":"i","aud":["a"],"exp":%d,"nbf":1,"iat":1.5}`, now.Unix()+60)
	f.Add(`{"alg":"EdDSA"}`, valid, uint8(0))
	f.Add(`{"alg":"EdDSA","crit":["b64"],"b64":false}`, valid, uint8(0))
	f.Add(`{"alg":"none"}`, valid, uint8(1))
	f.Add(`{"alg":"EdDSA","alg":"none"}`, strings.ToUpper(valid), uint8(2))
	f.Add(`{"alg":"EdDSA"}`, `{"sub":"ada","iss":"i","aud":"a","exp":1e300,"exp":null}`, uint8(3))
	f.Fuzz(func(t *testing.T, header, payload string, harm uint8) {
		token := tokenOf(private, header, payload)
		if harm > 0 { // the signature is another's
			token = token[:len(token)-10] + strings.Repeat(string("ABCDEFGH"[harm%8]), 10)
		}
		id, err := tokens.User(askWith(token))
		if (err == nil) != (id != "") {
			t.Fatalf("%q, %v", id, err)
		}
		if err == nil && (harm > 0 || !validToken(header, payload)) {
			t.Errorf("%s %s counts", header, payload)
		}
		var told TokenError
		if err != nil && !errors.As(err, &told) {
			t.Errorf("an error of the library's: %v", err)
		}
	})
}

// validToken reads header and claims without the library.
func validToken(header, payload string) bool {
	var h, c map[string]any
	if json.Unmarshal([]byte(header), &h) != nil || json.Unmarshal([]byte(payload), &c) != nil {
		return false
	}
	_, critical := h["crit"]
	exp, _ := c["exp"].(float64)
	subject, _ := c["sub"].(string)
	heard := c["aud"] == "a"
	if list, ok := c["aud"].([]any); ok {
		for _, a := range list {
			heard = heard || a == "a"
		}
	}
	return !critical && h["alg"] == "EdDSA" && subject != "" && c["iss"] == "i" && heard && exp > float64(now.Unix())
}
