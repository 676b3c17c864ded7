package app

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sluice/internal/config"
	"sluice/internal/httpx"
	"sluice/privacyfilter"
)

type keysConfig struct {
	Write    []string `yaml:"write"`
	Server   []string `yaml:"server"`
	Operator []string `yaml:"operator"`

	Origins       map[string][]string `yaml:"origins"`
	Jurisdictions map[string]string   `yaml:"jurisdictions"`
}

// demoKeys are public: the demo prints them. They work on loopback addresses alone.
var demoKeys = keysConfig{Write: []string{"demo_write"}, Server: []string{"demo_server"}, Operator: []string{"demo_operator"}}

func (k keysConfig) keys() *httpx.Keys {
	roles := make(map[string]httpx.Role)
	for role, keys := range map[httpx.Role][]string{httpx.RoleWrite: k.Write, httpx.RoleServer: k.Server, httpx.RoleOperator: k.Operator} {
		for _, key := range keys {
			roles[key] = role
		}
	}
	all := httpx.NewKeys(roles)
	for key, origins := range k.Origins {
		all.Bind(key, origins)
	}
	return all
}

// origins lists the origins of pages that may call the API: those of the collector's section, and those that keys are bound to.
func (k keysConfig) origins(collecting []string) map[string]bool {
	all := make(map[string]bool)
	for _, origins := range append(slices.Collect(maps.Values(k.Origins)), collecting) {
		for _, origin := range origins {
			all[origin] = true
		}
	}
	return all
}

// holdsDemoKey tells whether one of the demo's well-known keys is configured.
func (k keysConfig) holdsDemoKey() bool {
	for _, keys := range [][]string{k.Write, k.Server, k.Operator} {
		for _, key := range keys {
			if strings.HasPrefix(key, "demo_") {
				return true
			}
		}
	}
	return false
}

// validate refuses keys that can be guessed, and keys that no header can carry.
func (k keysConfig) validate(section config.Section, faults *config.Faults) {
	seen := make(map[string]bool)
	for _, role := range []struct {
		name string
		keys []string
	}{{"write", k.Write}, {"server", k.Server}, {"operator", k.Operator}} {
		for i, key := range role.keys {
			path := fmt.Sprintf(".%s[%d]", role.name, i)
			if wrong := weakness(key); wrong != "" {
				faults.Add(section.Errorf(path, "%s", wrong))
			}
			if seen[key] {
				faults.Add(section.Errorf(path, "must stand once: a key has one role"))
			}
			seen[key] = true
		}
	}
	for _, key := range slices.Sorted(maps.Keys(k.Origins)) { // the message does not name the key, which may be another role's
		origins := k.Origins[key]
		if !slices.Contains(k.Write, key) && (!k.none() || !slices.Contains(demoKeys.Write, key)) {
			faults.Add(section.Errorf(".origins", "must have keys that stand under write"))
		}
		if len(origins) == 0 || slices.ContainsFunc(origins, func(o string) bool { return !httpx.ValidOrigin(o) }) {
			faults.Add(section.Errorf(".origins", "each "+httpx.OriginText))
		}
	}
}

// checkJurisdictions holds the jurisdictions of pages to the register.
func (k keysConfig) checkJurisdictions(section config.Section, register *privacyfilter.Register) error {
	var faults config.Faults
	known := register.Jurisdictions()
	for _, origin := range slices.Sorted(maps.Keys(k.Jurisdictions)) {
		if path := ".jurisdictions" + config.Key(origin); !httpx.ValidOrigin(origin) {
			faults.Add(section.Errorf(path, httpx.OriginText))
		} else if !known[k.Jurisdictions[origin]] {
			faults.Add(section.Errorf(path, "must be a jurisdiction that the register knows: %s", strings.Join(slices.Sorted(maps.Keys(known)), ", ")))
		}
	}
	return faults.Err()
}

// none tells whether no key is configured.
func (k keysConfig) none() bool { return len(k.Write)+len(k.Server)+len(k.Operator) == 0 }

// The least that a key must have, so that it cannot be guessed.
const (
	minKey         = 16 // characters
	minKeyDistinct = 8  // of them
)

// weakness says what a key must be and is not; empty if it is good enough. The demo's keys are: refuseDemoKeys keeps them off public addresses.
func weakness(key string) string {
	if slices.Contains(slices.Concat(demoKeys.Write, demoKeys.Server, demoKeys.Operator), key) {
		return ""
	}
	distinct := make(map[rune]bool)
	for _, r := range key {
		if r <= ' ' || r > '~' {
			return "must be visible ASCII characters without spaces"
		}
		distinct[r] = true
	}
	if len(key) < minKey || len(distinct) < minKeyDistinct {
		return fmt.Sprintf("must have at least %d characters, %d different ones among them; `openssl rand -hex 24` makes a key", minKey, minKeyDistinct)
	}
	return ""
}
