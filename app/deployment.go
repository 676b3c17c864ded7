package app

import (
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"sluice/internal/config"
	"sluice/internal/httpx"
	"sluice/internal/quota"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/privacyfilter"
)

// deploymentYAML holds the built-in values of the sections that are about this deployment alone.
//
//go:embed deployment.yaml
var deploymentYAML []byte

// deployment says where this installation runs and who may call it.
type deployment struct {
	Server    serverConfig
	Kafka     kafkaConfig
	Warehouse warehouseConfig
	Keys      keysConfig
	Log       logConfig
}

type serverConfig struct {
	Listen  string `yaml:"listen"`
	Data    string `yaml:"data"`
	RootKey string `yaml:"root_key"`
	Node    string `yaml:"node"`
	Linger  string `yaml:"linger"`
	State   int64  `yaml:"state_mib"`
	Places  int    `yaml:"places"`
	Waiting int    `yaml:"waiting"`
	Memory  int64  `yaml:"memory_mib"`

	Connections    int       `yaml:"connections"`
	TLS            listenTLS `yaml:"tls"`
	TrustedProxies []string  `yaml:"trusted_proxies"`

	linger  time.Duration
	proxies quota.Proxies
}

// listenTLS names the PEM files of the listener's certificate; neither: plain HTTP.
type listenTLS struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

type kafkaConfig struct {
	Brokers    []string   `yaml:"brokers"`
	Prefix     string     `yaml:"prefix"`
	Replicas   int        `yaml:"replicas"`
	Partitions int32      `yaml:"partitions"`
	Generation uint32     `yaml:"generation"`
	Fsync      bool       `yaml:"fsync"`
	TLS        tlsConfig  `yaml:"tls"`
	SASL       saslConfig `yaml:"sasl"`
}

type tlsConfig struct {
	Enabled bool   `yaml:"enabled"`
	CA      string `yaml:"ca"`
	Cert    string `yaml:"cert"`
	Key     string `yaml:"key"`
}

type saslConfig struct {
	Mechanism    string `yaml:"mechanism"`
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
}

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

// loadDeployment reads the sections of the deployment. The error tells everything that is wrong, as config.Errors.
func loadDeployment(file *Config) (*deployment, error) {
	d := new(deployment)
	var faults config.Faults
	for _, s := range []struct {
		name string
		into any
	}{{"server", &d.Server}, {"kafka", &d.Kafka}, {"warehouse", &d.Warehouse}, {"keys", &d.Keys}, {"log", &d.Log}} {
		faults.Add(file.Section(s.name).Decode(s.into))
	}
	d.Server.validate(file.Section("server"), &faults)
	d.Kafka.validate(file.Section("kafka"), &faults)
	d.Warehouse.validate(file.Section("warehouse"), &faults)
	d.Keys.validate(file.Section("keys"), &faults)
	d.Log.validate(file.Section("log"), &faults)
	return d, sorted(faults.Err())
}

// checkFiles checks the key files that are on this machine. A configuration may be checked on a machine that has none.
func (d *deployment) checkFiles(file *Config) error {
	var faults config.Faults
	section := file.Section("server")
	if err := d.checkRootKey(); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		faults.Add(section.Errorf(".root_key", "%v", err))
	}
	if (d.Server.TLS.Cert == "") != (d.Server.TLS.Key == "") {
		faults.Add(section.Errorf(".tls", "must name both cert and key, or neither"))
	}
	return faults.Err()
}

// checkRootKey reads the root key, if one is named. The error is fs.ErrNotExist where this machine has no such file, and fs.ErrPermission where this user may not read it.
func (d *deployment) checkRootKey() error {
	if d.Server.RootKey == "" {
		return nil
	}
	_, err := seal.Open(d.Server.RootKey)
	return err
}

// minState is the least of server.state_mib: what the tables of one transaction may take beside those that are full.
const minState = 16

func (s *serverConfig) validate(section config.Section, faults *config.Faults) {
	var err error
	if s.linger, err = config.ParseDuration(s.Linger); err != nil && s.Linger != "0s" {
		faults.Add(section.Errorf(".linger", "%v, or 0s", err))
	}
	for i, text := range s.TrustedProxies {
		network, err := netip.ParsePrefix(text)
		if err != nil || network != network.Masked() || network.Bits() == 0 {
			faults.Add(section.Errorf(fmt.Sprintf(".trusted_proxies[%d]", i), "must be a network with the length of its prefix, such as 10.0.3.0/24 or 2001:db8::7/128, and not that of all addresses"))
		}
		s.proxies = append(s.proxies, network)
	}
	if s.State < minState {
		faults.Add(section.Errorf(".state_mib", "must be at least %d", minState))
	}
	for _, n := range []struct {
		path               string
		value, least, most int64
	}{{".places", int64(s.Places), 0, 1024}, {".waiting", int64(s.Waiting), 1, 100_000}, {".memory_mib", s.Memory, 64, 1 << 20}, {".connections", int64(s.Connections), 16, 1_000_000}} {
		if n.value < n.least || n.value > n.most {
			faults.Add(section.Errorf(n.path, "must be between %d and %d", n.least, n.most))
		}
	}
}

func (k *kafkaConfig) validate(section config.Section, faults *config.Faults) {
	if k.Replicas < 1 {
		faults.Add(section.Errorf(".replicas", "must be at least 1"))
	}
	if k.Partitions < 0 || k.Partitions > stream.Partitions {
		faults.Add(section.Errorf(".partitions", "must be between 0 and %d", stream.Partitions))
	}
	if k.Generation < 1 {
		faults.Add(section.Errorf(".generation", "must be at least 1"))
	}
	if m := k.SASL.Mechanism; m != "" && m != "plain" && m != "scram-sha-256" && m != "scram-sha-512" {
		faults.Add(section.Errorf(".sasl.mechanism", "must be plain, scram-sha-256 or scram-sha-512"))
	}
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

// cluster makes the settings of connections to a Kafka cluster. The embedded broker needs none.
func (k kafkaConfig) cluster(section config.Section) (stream.Cluster, error) {
	c := stream.Cluster{Brokers: k.Brokers, Prefix: k.Prefix, Partitions: k.Partitions}
	if len(k.Brokers) == 0 {
		return c, section.Errorf(".brokers", "must name at least one host:port")
	}
	if k.TLS.Enabled {
		settings, err := k.TLS.load()
		if err != nil {
			return c, section.Errorf(".tls", "%v", err)
		}
		c.Options = append(c.Options, kgo.DialTLSConfig(settings))
	}
	if k.SASL.Mechanism == "" {
		return c, nil
	}
	password, err := os.ReadFile(k.SASL.PasswordFile)
	if err != nil {
		return c, section.Errorf(".sasl.password_file", "%v", err)
	}
	secret := strings.TrimRight(string(password), "\r\n")
	switch k.SASL.Mechanism {
	case "plain":
		c.Options = append(c.Options, kgo.SASL(plain.Auth{User: k.SASL.User, Pass: secret}.AsMechanism()))
	case "scram-sha-256":
		c.Options = append(c.Options, kgo.SASL(scram.Auth{User: k.SASL.User, Pass: secret}.AsSha256Mechanism()))
	case "scram-sha-512":
		c.Options = append(c.Options, kgo.SASL(scram.Auth{User: k.SASL.User, Pass: secret}.AsSha512Mechanism()))
	}
	return c, nil
}

func (t tlsConfig) load() (*tls.Config, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, err
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s must hold a certificate in PEM", t.CA)
		}
	}
	if t.Cert == "" {
		return settings, nil
	}
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, err
	}
	settings.Certificates = []tls.Certificate{pair}
	return settings, nil
}

// Cluster is the Kafka cluster that the configuration names, and how many replicas each topic has on it.
func (c *Config) Cluster() (stream.Cluster, int, error) {
	d, err := loadDeployment(c)
	if err != nil {
		return stream.Cluster{}, 0, err
	}
	cluster, err := d.Kafka.cluster(c.asked("kafka"))
	return cluster, d.Kafka.Replicas, err
}
