package httpx

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Role is what a key may do. The roles do not include one another.
type Role uint8

// A request without a valid key has RoleNone.
const (
	RoleNone     Role = iota
	RoleWrite         // public, in pages: may post browsing types, rank, and change its own visitor's settings
	RoleServer        // the shop's back end: everything that concerns a subject
	RoleOperator      // metrics, dead letters, digests
)

// String is the role's name in the configuration.
func (r Role) String() string {
	return [...]string{"none", "write", "server", "operator"}[r]
}

// Grant is what a key gives, and when.
type Grant struct {
	Role      Role
	Hashed    bool      // only its hash is known: it is held to Weakness when it is shown
	Origins   []string  // of the pages that may use it; none: every one, and whoever has no origin
	NotBefore time.Time // zero: at any time
	Expires   time.Time // zero: never
}

// from tells whether a request comes from a page that may use the key. A page that gets something from its own origin sends no Origin; its browser says same-origin.
func (g *Grant) from(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" && r.Header.Get("Sec-Fetch-Site") == "same-origin" {
		origin = "://" + r.Host
	}
	return len(g.Origins) == 0 || slices.ContainsFunc(g.Origins, func(bound string) bool {
		return bound == origin || strings.HasPrefix(origin, "://") && strings.HasSuffix(bound, origin)
	})
}

// KeyHash is what is kept of a key: its SHA-256. A key cannot be guessed, so that nothing slower is needed to hide it.
type KeyHash [sha256.Size]byte

// HashKey hashes a key.
func HashKey(key string) KeyHash { return sha256.Sum256([]byte(key)) }

// KeyHashPrefix begins the text of a hash.
const KeyHashPrefix = "sha256:"

// ParseKeyHash reads the form that String writes.
func ParseKeyHash(text string) (h KeyHash, ok bool) {
	digits, ok := strings.CutPrefix(text, KeyHashPrefix)
	if !ok || len(digits) != 2*len(h) {
		return h, false
	}
	_, err := hex.Decode(h[:], []byte(digits))
	return h, err == nil
}

// String is the form in which a configuration may hold the key: "sha256:" and 64 hexadecimal digits.
func (h KeyHash) String() string { return KeyHashPrefix + hex.EncodeToString(h[:]) }

// Fingerprint tells keys apart in logs and metrics.
func (h KeyHash) Fingerprint() string { return hex.EncodeToString(h[:4]) }

// Keys knows the configured API keys by their hash.
type Keys struct {
	hashes []KeyHash
	grants []Grant
	now    func() time.Time
}

// NewKeys takes keys in the clear and keeps only their hashes.
func NewKeys(roles map[string]Role) *Keys {
	k := &Keys{now: time.Now}
	for key, role := range roles {
		k.Add(HashKey(key), Grant{Role: role})
	}
	return k
}

// Add lets in a key by its hash. It is called before requests are served.
func (k *Keys) Add(hash KeyHash, g Grant) {
	k.hashes, k.grants = append(k.hashes, hash), append(k.grants, g)
}

// find is what a key gives, nil if it is not known. It takes the same time for every key: they are few.
func (k *Keys) find(key string) (found *Grant) {
	hash := HashKey(key)
	for i := range k.hashes {
		if subtle.ConstantTimeCompare(hash[:], k.hashes[i][:]) == 1 {
			found = &k.grants[i]
		}
	}
	return found
}

// given is the key of a request: `Authorization: Bearer KEY`, Basic with the key as user name, or, for a beacon, which cannot set headers, `?key=`.
func given(r *http.Request) (key string, inQuery bool) {
	if user, _, ok := r.BasicAuth(); ok {
		return user, false
	}
	if scheme, key, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(key), false
	}
	if r.Method == http.MethodPost && r.URL.Path == "/v1/events" {
		return r.URL.Query().Get("key"), true
	}
	return "", false
}

// KeyOf is the key of a request as it was given, empty if there is none. It must not be kept.
func KeyOf(r *http.Request) string {
	key, _ := given(r)
	return key
}

// Admit is the role of a request's key, if it is one of roles; else the problem to answer with: 401 without a valid key, 403 with one that may not do this.
func (k *Keys) Admit(r *http.Request, roles ...Role) (Role, *Problem) {
	key, inQuery := given(r)
	if key == "" {
		return RoleNone, NewProblem(http.StatusUnauthorized, "missing_key", "The request must have a key: Authorization: Bearer KEY.")
	}
	held := k.find(key)
	switch now := k.now(); {
	case held == nil, inQuery && held.Role != RoleWrite, now.Before(held.NotBefore):
		return RoleNone, NewProblem(http.StatusUnauthorized, "invalid_key", "The key must be one of this deployment's.")
	case !held.Expires.IsZero() && !now.Before(held.Expires):
		return RoleNone, NewProblem(http.StatusUnauthorized, "expired_key", "The key must be one that has not expired.")
	case held.Hashed && Weakness(key) != "":
		return RoleNone, NewProblem(http.StatusUnauthorized, "weak_key", "The key "+Weakness(key)+".")
	case !slices.Contains(roles, held.Role):
		return RoleNone, NewProblem(http.StatusForbidden, "wrong_key", "This key's role may not do this.")
	case !held.from(r):
		return RoleNone, NewProblem(http.StatusForbidden, "wrong_origin", "The request must come from a page of an origin that this key is bound to.")
	}
	return held.Role, nil
}

// Require lets a request pass if its key has one of the roles: 401 without a valid key, 403 with another role's. The role travels in the context.
func (k *Keys) Require(next http.Handler, roles ...Role) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		role, problem := k.Admit(r, roles...)
		if problem != nil {
			WriteProblem(w, problem)
			return
		}
		next.ServeHTTP(w, r.WithContext(WithRole(r.Context(), role)))
	})
}

type roleKey struct{}

// WithRole returns a context that carries the caller's role.
func WithRole(ctx context.Context, role Role) context.Context {
	return context.WithValue(ctx, roleKey{}, role)
}

// RoleFrom is the role that Require found.
func RoleFrom(ctx context.Context) Role {
	role, _ := ctx.Value(roleKey{}).(Role)
	return role
}
