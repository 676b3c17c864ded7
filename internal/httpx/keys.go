package httpx

import (
	"context"
	"crypto/sha256"
	"net/http"
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

// Keys knows the configured API keys by their hash.
type Keys struct{ roles map[[32]byte]Role }

// NewKeys takes keys in the clear and keeps only their hashes.
func NewKeys(roles map[string]Role) *Keys {
	k := &Keys{roles: make(map[[32]byte]Role, len(roles))}
	for key, role := range roles {
		k.roles[sha256.Sum256([]byte(key))] = role
	}
	return k
}

// RoleOf reads the key from `Authorization: Bearer KEY`, Basic with the key as user name, or `?key=` (write keys only).
func (k *Keys) RoleOf(r *http.Request) Role {
	if user, _, ok := r.BasicAuth(); ok {
		return k.roles[sha256.Sum256([]byte(user))]
	}
	if scheme, key, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return k.roles[sha256.Sum256([]byte(strings.TrimSpace(key)))]
	}
	if key := r.URL.Query().Get("key"); key != "" {
		if role := k.roles[sha256.Sum256([]byte(key))]; role == RoleWrite {
			return role
		}
	}
	return RoleNone
}

// Require lets a request pass if its key has one of the roles: 401 without a valid key, 403 with another role's. The role travels in the context.
func (k *Keys) Require(next http.Handler, roles ...Role) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		role := k.RoleOf(r)
		if problem := CheckRole(role, roles...); problem != nil {
			if problem.Status == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Bearer realm="sluice"`)
			}
			WriteProblem(w, problem)
			return
		}
		next.ServeHTTP(w, r.WithContext(WithRole(r.Context(), role)))
	})
}

// CheckRole is nil if role is one of roles, else the problem to answer with.
func CheckRole(role Role, roles ...Role) *Problem {
	if role == RoleNone {
		return NewProblem(http.StatusUnauthorized, "missing_key", "A valid key is expected: Authorization: Bearer KEY.")
	}
	for _, allowed := range roles {
		if role == allowed {
			return nil
		}
	}
	return NewProblem(http.StatusForbidden, "wrong_key", "This key's role may not do this.")
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
