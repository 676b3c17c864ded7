package collector

import (
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sluice/internal/canonical"
)

// userTokenHeader carries the proof of who is signed in, beside a write key.
const userTokenHeader = "Sluice-User-Token"

// Tokens checks user tokens: a JWT (EdDSA) that the storefront signs, with sub = user id and exp. It is safe for concurrent use.
type Tokens struct {
	parser *jwt.Parser
	keys   jwt.VerificationKeySet
}

// NewTokens makes a checker with the configured public keys; without any, no token is valid. now is the clock that exp is held against.
func NewTokens(c *Config, now func() time.Time) *Tokens {
	t := &Tokens{parser: jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithExpirationRequired(), jwt.WithLeeway(c.Leeway), jwt.WithTimeFunc(now),
	)}
	for _, key := range c.UserKeys {
		t.keys.Keys = append(t.keys.Keys, key)
	}
	return t
}

// User is the person whom the request's token names. It is false without a token, and with one that is not valid: expired, signed by somebody else, without sub or exp.
func (t *Tokens) User(r *http.Request) (id string, ok bool) {
	token := r.Header.Get(userTokenHeader)
	if token == "" {
		return "", false
	}
	var claims jwt.RegisteredClaims
	if _, err := t.parser.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return t.keys, nil }); err != nil {
		return "", false
	}
	return canonical.Text(claims.Subject), claims.Subject != ""
}
