package collector

import (
	"crypto/ed25519"
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"sluice/internal/config"
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
	InFlight            int64               // bytes of bodies in memory at once
	Remembered          int                 // ids of the newest events
	MaxBacklog          int64               // accepted events that are not settled yet
	Timeout             time.Duration       // of a request
}

// section is the configuration as YAML has it.
type section struct {
	TrustClientIdentity bool `yaml:"trust_client_identity"`
	UserToken           struct {
		PublicKeys []string `yaml:"public_keys"`
		Leeway     string   `yaml:"leeway"`
	} `yaml:"user_token"`
	InFlightMiB   int64  `yaml:"in_flight_mib"`
	RememberedIDs int    `yaml:"remembered_ids"`
	MaxBacklog    int64  `yaml:"max_backlog"`
	Timeout       string `yaml:"timeout"`
}

const name = "collector"

// Load reads the section "collector"; what it leaves out is as built in. Errors are *config.Error with line and column.
func Load(sections func(string) config.Section) (*Config, error) {
	var raw section
	builtin, err := config.Parse("collector.yaml", Defaults)
	if err != nil {
		return nil, fmt.Errorf("built-in configuration: %w", err)
	}
	s, _ := builtin.Section(name)
	if err := s.Decode(&raw); err != nil {
		return nil, fmt.Errorf("built-in configuration: %w", err)
	}
	s = sections(name)
	if err := s.Decode(&raw); err != nil {
		return nil, err
	}
	return raw.check(s)
}

func (raw *section) check(s config.Section) (*Config, error) {
	c := &Config{TrustClientIdentity: raw.TrustClientIdentity, InFlight: raw.InFlightMiB << 20, Remembered: raw.RememberedIDs, MaxBacklog: raw.MaxBacklog}
	var err error
	if c.Leeway, err = config.ParseDuration(raw.UserToken.Leeway); err != nil {
		return nil, s.Errorf(".user_token.leeway", "%v", err)
	}
	if c.Timeout, err = config.ParseDuration(raw.Timeout); err != nil {
		return nil, s.Errorf(".timeout", "%v", err)
	}
	if raw.InFlightMiB < 8 || raw.InFlightMiB > 1<<20 {
		return nil, s.Errorf(".in_flight_mib", "a number from 8 to 1048576 expected: one body may have 5 MiB")
	}
	if raw.RememberedIDs < 1 || raw.RememberedIDs > 1_000_000_000 {
		return nil, s.Errorf(".remembered_ids", "a number from 1 to 1000000000 expected")
	}
	if raw.MaxBacklog < 1 || raw.MaxBacklog > 1_000_000_000_000 {
		return nil, s.Errorf(".max_backlog", "must be between 1 and 1000000000000")
	}
	for i, text := range raw.UserToken.PublicKeys {
		key, err := parseKey(text)
		if err != nil {
			return nil, s.Errorf(fmt.Sprintf(".user_token.public_keys[%d]", i), "%v", err)
		}
		c.UserKeys = append(c.UserKeys, key)
	}
	return c, nil
}

var errKey = errors.New("an Ed25519 public key in PEM (-----BEGIN PUBLIC KEY-----) expected")

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
