package collector

import (
	"crypto/ed25519"
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"sluice/ingest"
	"sluice/internal/canonical"
	"sluice/internal/config"
	"sluice/internal/httpx"
)

// Defaults is the built-in configuration.
//
//go:embed collector.yaml
var Defaults []byte

// Config says how events are taken in.
type Config struct {
	TrustClientIdentity bool                // a write key's user_id counts without a token
	UserKeys            []ed25519.PublicKey // that user tokens are signed with; none = no token is valid
	Leeway              time.Duration       // between the signer's clock and ours
	Issuer, Audience    string              // that a token's iss must be and its aud must have; empty: they are not asked
	InFlight            int64               // bytes of bodies in memory at once
	Remembered          int                 // ids of the newest events
	MaxBacklog          int64               // accepted events that are not settled yet
	MaxLag              time.Duration       // how long one may take to be settled
	Timeout             time.Duration       // of a request
	Forms               ingest.Forms        // that identifiers are given
	Origins             []string            // of pages that may call the API
}

// section is the configuration as YAML has it.
type section struct {
	TrustClientIdentity bool `yaml:"trust_client_identity"`
	UserToken           struct {
		PublicKeys []string `yaml:"public_keys"`
		Leeway     string   `yaml:"leeway"`
		Issuer     string   `yaml:"issuer"`
		Audience   string   `yaml:"audience"`
	} `yaml:"user_token"`
	InFlightMiB   int64    `yaml:"in_flight_mib"`
	RememberedIDs int      `yaml:"remembered_ids"`
	MaxBacklog    int64    `yaml:"max_backlog"`
	MaxLag        string   `yaml:"max_lag"`
	Timeout       string   `yaml:"timeout"`
	Placeholders  []string `yaml:"placeholders"`
	CORS          struct {
		Origins []string `yaml:"origins"`
	} `yaml:"cors"`
}

const name = "collector"

// Load reads the section "collector". The error is config.Errors: everything that is wrong, with line and column.
func Load(sections func(string) config.Section) (*Config, error) {
	var raw section
	var faults config.Faults
	s := sections(name)
	faults.Add(s.Decode(&raw))
	c := raw.check(s, &faults)
	return c, faults.Err()
}

func (raw *section) check(s config.Section, faults *config.Faults) *Config {
	c := &Config{TrustClientIdentity: raw.TrustClientIdentity, InFlight: raw.InFlightMiB << 20, Remembered: raw.RememberedIDs, MaxBacklog: raw.MaxBacklog, Origins: raw.CORS.Origins}
	c.Issuer, c.Audience = raw.UserToken.Issuer, raw.UserToken.Audience
	c.Forms.Placeholders = canonical.NewPlaceholders(raw.Placeholders)
	for _, d := range []struct {
		path, text string
		into       *time.Duration
	}{{".user_token.leeway", raw.UserToken.Leeway, &c.Leeway}, {".timeout", raw.Timeout, &c.Timeout}, {".max_lag", raw.MaxLag, &c.MaxLag}} {
		var err error
		if *d.into, err = config.ParseDuration(d.text); err != nil {
			faults.Add(s.Errorf(d.path, "%v", err))
		}
	}
	for _, n := range []struct {
		path               string
		value, least, most int64
	}{
		{".in_flight_mib", raw.InFlightMiB, 8, 1 << 20}, // one body may have 5 MiB
		{".remembered_ids", int64(raw.RememberedIDs), 1, 1_000_000_000},
		{".max_backlog", raw.MaxBacklog, 1, 1_000_000_000_000},
	} {
		if n.value < n.least || n.value > n.most {
			faults.Add(s.Errorf(n.path, "must be between %d and %d", n.least, n.most))
		}
	}
	for i, word := range raw.Placeholders {
		if word == "" || len(word) > canonical.LongestPlaceholder {
			faults.Add(s.Errorf(fmt.Sprintf(".placeholders[%d]", i), "must be a word of 1 to %d bytes", canonical.LongestPlaceholder))
		}
	}
	for i, origin := range raw.CORS.Origins {
		if !httpx.ValidOrigin(origin) {
			faults.Add(s.Errorf(fmt.Sprintf(".cors.origins[%d]", i), httpx.OriginText))
		}
	}
	for i, text := range raw.UserToken.PublicKeys {
		key, err := parseKey(text)
		if err != nil {
			faults.Add(s.Errorf(fmt.Sprintf(".user_token.public_keys[%d]", i), "%v", err))
			continue
		}
		c.UserKeys = append(c.UserKeys, key)
	}
	return c
}

var errKey = errors.New("must be an Ed25519 public key in PEM (-----BEGIN PUBLIC KEY-----)")

func parseKey(text string) (ed25519.PublicKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errKey
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, errKey
	}
	key, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, errKey
	}
	return key, nil
}
