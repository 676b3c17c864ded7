package app

import (
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"sluice/internal/config"
	"sluice/internal/quota"
	"sluice/internal/seal"
	"sluice/internal/stream"
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
