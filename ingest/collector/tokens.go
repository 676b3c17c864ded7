package collector

import (
	"errors"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sluice/internal/canonical"
)

// userTokenHeader carries the proof of who is signed in, beside a write key.
const userTokenHeader = "Sluice-User-Token"

// Tokens checks user tokens: JWTs (EdDSA) that the storefront signs, with sub = user id and exp. It is safe for concurrent use.
type Tokens struct {
	parser   *jwt.Parser
	keys     jwt.VerificationKeySet
	required []string // claims beside sub
}

// NewTokens makes a checker with the configured public keys; without any, no token is valid. now is the clock that exp, nbf and iat are held against.
func NewTokens(c *Config, now func() time.Time) *Tokens {
	t := &Tokens{required: []string{"exp"}}
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}), jwt.WithStrictDecoding(),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(c.Leeway), jwt.WithTimeFunc(now),
	}
	if c.Issuer != "" {
		t.required, options = append(t.required, "iss"), append(options, jwt.WithIssuer(c.Issuer))
	}
	if c.Audience != "" {
		t.required, options = append(t.required, "aud"), append(options, jwt.WithAudience(c.Audience))
	}
	t.parser = jwt.NewParser(options...)
	for _, key := range c.UserKeys {
		t.keys.Keys = append(t.keys.Keys, key)
	}
	return t
}

// TokenError says what a user token must have, and names a claim, never a value.
type TokenError string

func (e TokenError) Error() string { return string(e) }

// ErrNoToken is the error of a request without a user token.
const ErrNoToken TokenError = userTokenHeader + " must be there"

// User is the person whom the request's token names. The error is a TokenError.
func (t *Tokens) User(r *http.Request) (id string, err error) {
	text := r.Header.Get(userTokenHeader)
	if text == "" {
		return "", ErrNoToken
	}
	said := make(jwt.MapClaims) // of exact names: a struct's are found in any case, so that a claim of the storefront's own named SUB would be sub
	if _, err := t.parser.ParseWithClaims(text, said, t.keysFor); err != nil {
		return "", t.fault(err, said)
	}
	subject, _ := said["sub"].(string)
	if id = canonical.Text(subject); id == "" {
		return "", TokenError("sub must be the user id")
	}
	return id, nil
}

// errCritical is that the token asks for an extension (RFC 7515, section 4.1.11), of which none is known here.
var errCritical = errors.New("crit")

// keysFor are the keys that may have signed a token. Its kid is not asked: all keys are for one algorithm, and they are few.
func (t *Tokens) keysFor(token *jwt.Token) (any, error) {
	if _, asks := token.Header["crit"]; asks {
		return nil, errCritical
	}
	return t.keys, nil
}

const unsigned TokenError = "the token must be signed with EdDSA, by a key of collector.user_token.public_keys"

// tokenFaults are what can be wrong with a token, in the order in which they are told.
var tokenFaults = []struct {
	is   error
	told TokenError
}{
	{errCritical, "crit must not be in the token's header: no extension is known"},
	{jwt.ErrTokenMalformed, "the token must be a JWT: three parts of base64url without padding, the first two JSON objects"},
	{jwt.ErrTokenSignatureInvalid, unsigned},
	{jwt.ErrTokenUnverifiable, unsigned},
	{jwt.ErrTokenExpired, "exp must be later than now"},
	{jwt.ErrTokenNotValidYet, "nbf must not be later than now"},
	{jwt.ErrTokenUsedBeforeIssued, "iat must not be later than now"},
	{jwt.ErrTokenInvalidIssuer, "iss must be collector.user_token.issuer"},
	{jwt.ErrTokenInvalidAudience, "aud must have collector.user_token.audience"},
}

// fault is what the parser's error means.
func (t *Tokens) fault(err error, said jwt.MapClaims) TokenError {
	if errors.Is(err, jwt.ErrTokenRequiredClaimMissing) {
		for _, name := range t.required {
			if value, there := said[name]; !there || value == "" {
				return TokenError(name + " must be there")
			}
		}
	}
	for _, fault := range tokenFaults {
		if errors.Is(err, fault.is) {
			return fault.told
		}
	}
	return "each claim must be of the type that RFC 7519 gives it"
}
