package httpx

import (
	"context"
	"crypto/sha256"
	"net/http"
	"slices"
	"strings"
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

// grant is what a key gives.
type grant struct {
	role    Role
	origins []string // of the pages that may use it; none: every one, and whoever has no origin
}

// from tells whether a request comes from a page that may use the key. A page that gets something from its own origin sends no Origin; its browser says same-origin.
func (g *grant) from(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" && r.Header.Get("Sec-Fetch-Site") == "same-origin" {
		origin = "://" + r.Host
	}
	return len(g.origins) == 0 || slices.ContainsFunc(g.origins, func(bound string) bool {
		return bound == origin || strings.HasPrefix(origin, "://") && strings.HasSuffix(bound, origin)
	})
}

// Keys knows the configured API keys by their hash.
type Keys struct{ grants map[[32]byte]grant }

// NewKeys takes keys in the clear and keeps only their hashes.
func NewKeys(roles map[string]Role) *Keys {
	k := &Keys{grants: make(map[[32]byte]grant, len(roles))}
	for key, role := range roles {
		k.grants[sha256.Sum256([]byte(key))] = grant{role: role}
	}
	return k
}

// Bind lets a key be used by pages of these origins alone. It is called before requests are served.
func (k *Keys) Bind(key string, origins []string) {
	hash := sha256.Sum256([]byte(key))
	k.grants[hash] = grant{role: k.grants[hash].role, origins: origins}
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
	held, known := k.grants[sha256.Sum256([]byte(key))]
	switch {
	case !known, inQuery && held.role != RoleWrite:
		return RoleNone, NewProblem(http.StatusUnauthorized, "invalid_key", "The key must be one of this deployment's.")
	case !slices.Contains(roles, held.role):
		return RoleNone, NewProblem(http.StatusForbidden, "wrong_key", "This key's role may not do this.")
	case !held.from(r):
		return RoleNone, NewProblem(http.StatusForbidden, "wrong_origin", "The request must come from a page of an origin that this key is bound to.")
	}
	return held.role, nil
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
