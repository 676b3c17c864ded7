package app

import (
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/config"
	"sluice/internal/httpx"
	"sluice/privacyfilter"
)

// keysConfig is the section "keys". A key stands in it as it is, or as its hash; what else is said of it names it as it stands.
type keysConfig struct {
	Write    []string `yaml:"write"`
	Server   []string `yaml:"server"`
	Operator []string `yaml:"operator"`

	Origins       map[string][]string `yaml:"origins"`
	NotBefore     map[string]string   `yaml:"not_before"`
	Expires       map[string]string   `yaml:"expires"`
	Jurisdictions map[string]string   `yaml:"jurisdictions"`
}

// demoKeys are public: the demo prints them. They work on loopback addresses alone.
var demoKeys = keysConfig{Write: []string{"demo_write"}, Server: []string{"demo_server"}, Operator: []string{"demo_operator"}}

// entry is one key as it stands in the configuration.
type entry struct {
	path string // in the section
	text string
	role httpx.Role
}

// entries lists the keys.
func (k keysConfig) entries() (all []entry) {
	for _, role := range []struct {
		is   httpx.Role
		keys []string
	}{{httpx.RoleWrite, k.Write}, {httpx.RoleServer, k.Server}, {httpx.RoleOperator, k.Operator}} {
		for i, text := range role.keys {
			all = append(all, entry{fmt.Sprintf(".%s[%d]", role.is, i), text, role.is})
		}
	}
	return all
}

// hash is what is kept of the key.
func (e entry) hash() httpx.KeyHash {
	if hash, ok := httpx.ParseKeyHash(e.text); ok {
		return hash
	}
	return httpx.HashKey(e.text)
}

// grant is what the key gives, and when.
func (k keysConfig) grant(e entry) httpx.Grant {
	from, _ := keyTime(k.NotBefore[e.text]) // checked when it was loaded
	until, _ := keyTime(k.Expires[e.text])
	return httpx.Grant{Role: e.role, Hashed: strings.HasPrefix(e.text, httpx.KeyHashPrefix), Origins: k.Origins[e.text], NotBefore: from, Expires: until}
}

func (k keysConfig) keys() *httpx.Keys {
	all := httpx.NewKeys(nil)
	for _, e := range k.entries() {
		all.Add(e.hash(), k.grant(e))
	}
	return all
}

// keyTime reads a time or a day, which begins at midnight UTC. An empty text is no bound.
func keyTime(text string) (at time.Time, ok bool) {
	if text == "" {
		return at, true
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, true
		}
	}
	return at, false
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

// holdsDemoKey tells whether one of the demo's well-known keys is configured, also by its hash.
func (k keysConfig) holdsDemoKey() bool {
	return slices.ContainsFunc(k.entries(), func(e entry) bool {
		return strings.HasPrefix(e.text, "demo_") || slices.ContainsFunc(demoKeys.entries(), func(d entry) bool { return d.hash() == e.hash() })
	})
}

// none tells whether no key is configured.
func (k keysConfig) none() bool { return len(k.entries()) == 0 }

// validate refuses keys that can be guessed, and keys that no header can carry. A message never names a key, also not where the file says more of it.
func (k keysConfig) validate(section config.Section, faults *config.Faults) {
	named, seen := make(map[string]bool), make(map[httpx.KeyHash]bool)
	all := k.entries()
	for _, e := range all {
		if wrong := e.wrong(); wrong != "" {
			faults.Add(section.Errorf(e.path, "%s", wrong))
		}
		if seen[e.hash()] {
			faults.Add(section.Errorf(e.path, "must stand once: a key has one role"))
		}
		seen[e.hash()], named[e.text] = true, true
	}
	pages := k.Write
	if k.none() {
		pages = demoKeys.Write
	}
	for _, key := range slices.Sorted(maps.Keys(k.Origins)) {
		origins := k.Origins[key]
		if !slices.Contains(pages, key) {
			faults.Add(section.Errorf(".origins", "must have keys that stand under write"))
		}
		if len(origins) == 0 || slices.ContainsFunc(origins, func(o string) bool { return !httpx.ValidOrigin(o) }) {
			faults.Add(section.Errorf(".origins", "each "+httpx.OriginText))
		}
	}
	for _, times := range []struct {
		path string
		of   map[string]string
	}{{".not_before", k.NotBefore}, {".expires", k.Expires}} {
		for _, key := range slices.Sorted(maps.Keys(times.of)) {
			if !named[key] {
				faults.Add(section.Errorf(times.path, "must have keys that stand under write, server or operator"))
			}
			if _, ok := keyTime(times.of[key]); !ok || times.of[key] == "" {
				faults.Add(section.Errorf(times.path, "must be times such as 2027-06-30 or 2027-06-30T12:00:00Z"))
			}
		}
	}
	for _, e := range all {
		if g := k.grant(e); !g.Expires.IsZero() && !g.NotBefore.Before(g.Expires) {
			faults.Add(section.Errorf(".expires", "must be later than not_before of the same key"))
		}
	}
}

// wrong says what the key must be and is not, empty if it will do. The demo's own are known to all, and refused where others can reach them. Of a hash nothing
// can be told but its form: a weak key is refused when it is shown, and `sluice keys hash` makes none of it.
func (e entry) wrong() string {
	if strings.HasPrefix(e.text, httpx.KeyHashPrefix) {
		if _, ok := httpx.ParseKeyHash(e.text); !ok {
			return "must be sha256: and 64 hexadecimal digits; `sluice keys hash` makes it of a key"
		}
		return ""
	}
	if slices.ContainsFunc(demoKeys.entries(), func(d entry) bool { return d.text == e.text }) {
		return ""
	}
	return httpx.Weakness(e.text)
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

// KeyInfo tells of an API key what is no secret.
type KeyInfo struct {
	Role        string     `json:"role"`
	Fingerprint string     `json:"fingerprint"` // the first 8 digits of its SHA-256
	Hashed      bool       `json:"hashed"`      // the configuration does not hold the key itself
	NotBefore   *time.Time `json:"not_before,omitempty"`
	Expires     *time.Time `json:"expires,omitempty"`
	Origins     []string   `json:"origins,omitempty"`
}

// String is the key as a line.
func (i KeyInfo) String() string {
	words := []string{i.Role, i.Fingerprint}
	if i.Hashed {
		words = append(words, "hashed")
	}
	if i.NotBefore != nil {
		words = append(words, "from "+i.NotBefore.Format(time.RFC3339))
	}
	if i.Expires != nil {
		words = append(words, "until "+i.Expires.Format(time.RFC3339))
	}
	if len(i.Origins) > 0 {
		words = append(words, "for pages of "+strings.Join(i.Origins, ", "))
	}
	return strings.Join(words, " ")
}

// Keys lists the configured API keys without telling them.
func (c *Config) Keys() ([]KeyInfo, error) {
	d, err := loadDeployment(c)
	if err != nil {
		return nil, err
	}
	return d.Keys.infos(), nil
}

func (k keysConfig) infos() (all []KeyInfo) {
	bound := func(at time.Time) *time.Time {
		if at.IsZero() {
			return nil
		}
		return &at
	}
	for _, e := range k.entries() {
		g := k.grant(e)
		all = append(all, KeyInfo{
			Role: e.role.String(), Fingerprint: e.hash().Fingerprint(), Hashed: g.Hashed,
			NotBefore: bound(g.NotBefore), Expires: bound(g.Expires), Origins: g.Origins,
		})
	}
	return all
}

// expireSoon is how long before a key expires its operator is told.
const expireSoon = 14 * 24 * time.Hour

// expiring says which keys expire soon, or have, as of now.
func (k keysConfig) expiring(section config.Section, now time.Time) (found []*config.Error) {
	for _, key := range k.infos() {
		switch {
		case key.Expires == nil || key.Expires.Sub(now) > expireSoon:
		case key.Expires.After(now):
			found = append(found, section.Errorf(".expires", "the %s key %s expires soon: add the next one beside it, and take this one out once nobody uses it", key.Role, key.Fingerprint))
		default:
			found = append(found, section.Errorf(".expires", "the %s key %s has expired and lets nobody in", key.Role, key.Fingerprint))
		}
	}
	return found
}

// tell says in the log which keys expire soon, or have, and in a metric when.
func (k keysConfig) tell(logger *slog.Logger, registry prometheus.Registerer, now time.Time) {
	expires := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "sluice_key_expires_timestamp_seconds", Help: "When an API key expires, by its role and the first digits of its hash; +Inf: never.",
	}, []string{"role", "key"})
	registry.MustRegister(expires)
	for _, key := range k.infos() {
		series := expires.WithLabelValues(key.Role, key.Fingerprint)
		if key.Expires == nil {
			series.Set(math.Inf(1))
			continue
		}
		series.Set(float64(key.Expires.Unix()))
		if left := key.Expires.Sub(now); left <= expireSoon {
			message := "an API key expires soon"
			if left <= 0 {
				message = "an API key has expired"
			}
			logger.Warn(message, "role", key.Role, "key", key.Fingerprint, "expires", key.Expires.Format(time.RFC3339))
		}
	}
	if k.none() {
		logger.Warn("no API key is configured: nobody can call the API")
	}
}
