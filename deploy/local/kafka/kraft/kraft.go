// Package kraft runs Apache Kafka on loopback: one broker or three, without ZooKeeper (KRaft), each broker a controller too. Tests, benchmarks and
// the command sluice/deploy/local/kafka use it; it is for one machine and keeps nothing safe.
package kraft

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// Options say what to start.
type Options struct {
	Brokers int    // 1 or 3; 1 if 0
	Dir     string // data and logs; a directory that was used before is resumed, on the ports that it had
	Heap    string // of each broker, as Java writes it; "384m" if empty
	// LongRun lets Java's second compiler work: it pays after some minutes. Until then it takes as much CPU from a small machine as the brokers themselves.
	LongRun bool

	// Secure adds the listener SECURE: TLS with a certificate of the cluster's own authority, and SCRAM-SHA-256 and -512.
	Secure *Credentials
	// Nodes adds a listener for each name (letters and digits). Advertise tells where its clients find a broker, given the address that the broker
	// listens on, for instance a proxy's: so one client can be cut off from the cluster. It is asked at every start of a broker.
	Nodes     []string
	Advertise func(node string, broker int, addr string) string
	// Properties go into every broker's configuration, over what stands there.
	Properties map[string]string
}

// Credentials are of the one user that SECURE knows.
type Credentials struct{ User, Password string }

// Names of the listeners that every broker has.
const (
	plain      = "PLAIN" // between brokers, and for clients
	controller = "CONTROLLER"
	secure     = "SECURE"
)

// Cluster is a running cluster. Its processes die with this one.
type Cluster struct {
	o       Options
	libs    string
	brokers []*broker
	ca      *authority // nil without Secure
}

// readyTime bounds how long brokers may take to find one another on a slow machine.
const readyTime = 2 * time.Minute

// Start fetches the jars if they are not there, starts the brokers and returns when they are ready.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if o.Brokers == 0 {
		o.Brokers = 1
	}
	if o.Heap == "" {
		o.Heap = "384m"
	}
	libs, err := Fetch(ctx)
	if err != nil {
		return nil, err
	}
	c := &Cluster{o: o, libs: libs}
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	for i := range c.brokers {
		if err := c.Restart(i); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	if err := c.Ready(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Addrs are the plain addresses of all brokers, host:port.
func (c *Cluster) Addrs() []string { return c.addrs(plain) }

// SecureAddrs are the addresses of the listener SECURE.
func (c *Cluster) SecureAddrs() []string { return c.addrs(secure) }

// NodeAddrs are the addresses that brokers advertise on a node's own listener: where that node must connect first.
func (c *Cluster) NodeAddrs(node string) []string {
	addrs := c.addrs(node)
	for i, addr := range addrs {
		addrs[i] = c.o.Advertise(node, i, addr)
	}
	return addrs
}

// CA is the PEM file of the authority that signed the brokers' certificates, "" without Secure.
func (c *Cluster) CA() string {
	if c.ca == nil {
		return ""
	}
	return c.ca.file
}

// Pool holds that authority.
func (c *Cluster) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	if c.ca != nil {
		pool.AddCert(c.ca.cert)
	}
	return pool
}

func (c *Cluster) addrs(listener string) []string {
	addrs := make([]string, len(c.brokers))
	for i, b := range c.brokers {
		addrs[i] = b.addr(listener)
	}
	return addrs
}

// Ready returns when every broker knows every other.
func (c *Cluster) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		err := c.complete(ctx)
		if err == nil {
			return nil
		}
		for _, b := range c.brokers {
			if !b.process.Running() {
				return fmt.Errorf("broker %d ended before it was ready; its log:\n%s", b.id, b.logTail())
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("brokers not ready after %v: %w; the log of the first:\n%s", readyTime, err, c.brokers[0].logTail())
		case <-time.After(100 * time.Millisecond): // asked from outside the process: there is nothing to wait on
		}
	}
}

// complete asks each broker whom it knows.
func (c *Cluster) complete(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for _, addr := range c.Addrs() {
		client, err := kgo.NewClient(kgo.SeedBrokers(addr))
		if err != nil {
			return err
		}
		brokers, err := kadm.NewClient(client).ListBrokers(ctx)
		client.Close()
		if err != nil {
			return err
		}
		if len(brokers) != len(c.brokers) {
			return fmt.Errorf("%s knows %d of %d brokers", addr, len(brokers), len(c.brokers))
		}
	}
	return nil
}

// Kill ends a broker as a crash does.
func (c *Cluster) Kill(i int) error { return c.brokers[i].process.Kill() }

// Pause stops a broker's process in its tracks (SIGSTOP); Continue lets it go on.
func (c *Cluster) Pause(i int) error { return c.brokers[i].process.Pause() }

// Continue lets a paused broker go on.
func (c *Cluster) Continue(i int) error { return c.brokers[i].process.Resume() }

// Shutdown ends a broker in order: it hands its partitions over first.
func (c *Cluster) Shutdown(i int) error { return c.brokers[i].shutdown() }

// Restart starts a broker that has ended, on its data and its ports. It does not wait for it; Ready does.
func (c *Cluster) Restart(i int) error { return c.brokers[i].start(c.properties(i)) }

// PIDs are the processes, for measuring what they use.
func (c *Cluster) PIDs() []int {
	pids := make([]int, len(c.brokers))
	for i, b := range c.brokers {
		pids[i] = b.process.PID()
	}
	return pids
}

// Close ends all brokers, all at once.
func (c *Cluster) Close() error {
	var group errgroup.Group
	for _, b := range c.brokers {
		group.Go(b.kill)
	}
	return group.Wait()
}

// Stop ends all brokers in order, all at once.
func (c *Cluster) Stop() error {
	var group errgroup.Group
	for i := range c.brokers {
		group.Go(func() error { return c.Shutdown(i) })
	}
	return group.Wait()
}

// java are the arguments of the Java runtime.
func (c *Cluster) java() []string {
	args := []string{"-Xms128m", "-Xmx" + c.o.Heap, "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"}
	if !c.o.LongRun {
		args = append(args, "-XX:TieredStopAtLevel=1")
	}
	return args
}

// prepare finds ports, makes certificates, and formats directories that are new.
func (c *Cluster) prepare(ctx context.Context) error {
	if err := os.MkdirAll(c.o.Dir, 0o755); err != nil {
		return err
	}
	for i := range c.o.Brokers {
		b := &broker{id: i, dir: filepath.Join(c.o.Dir, "broker-"+strconv.Itoa(i))}
		if err := b.reserve(ctx, c.listeners()); err != nil {
			return err
		}
		c.brokers = append(c.brokers, b)
	}
	if c.o.Secure != nil {
		var err error
		if c.ca, err = newAuthority(c.o.Dir); err != nil {
			return err
		}
		for _, b := range c.brokers {
			if err := c.ca.issue(b.keystore()); err != nil {
				return err
			}
		}
	}
	for i, b := range c.brokers {
		if err := b.prepare(c.libs, c.java()); err != nil {
			return err
		}
		if err := b.format(ctx, c.libs, c.properties(i), c.scram()); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) listeners() []string {
	names := append([]string{plain, controller}, c.o.Nodes...)
	if c.o.Secure != nil {
		names = append(names, secure)
	}
	return names
}

// scram are the arguments that make the user, which must be there before the first start.
func (c *Cluster) scram() []string {
	if c.o.Secure == nil {
		return nil
	}
	var args []string
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, c.o.Secure.User, c.o.Secure.Password))
	}
	return args
}

// properties are a broker's server.properties.
func (c *Cluster) properties(i int) map[string]string {
	b := c.brokers[i]
	var listen, advertise, protocols, voters []string
	for _, name := range c.listeners() {
		addr := b.addr(name)
		listen = append(listen, name+"://"+addr)
		protocol := "PLAINTEXT"
		if name == secure {
			protocol = "SASL_SSL"
		}
		protocols = append(protocols, name+":"+protocol)
		switch name {
		case plain, secure:
			advertise = append(advertise, name+"://"+addr)
		case controller:
		default:
			advertise = append(advertise, name+"://"+c.o.Advertise(name, i, addr))
		}
	}
	for _, other := range c.brokers {
		voters = append(voters, fmt.Sprintf("%d@%s", other.id, other.addr(controller)))
	}
	replicas := strconv.Itoa(len(c.brokers))
	inSync := strconv.Itoa(len(c.brokers)/2 + 1)
	p := map[string]string{
		"node.id":                        strconv.Itoa(i),
		"process.roles":                  "broker,controller",
		"controller.quorum.voters":       strings.Join(voters, ","),
		"controller.listener.names":      controller,
		"inter.broker.listener.name":     plain,
		"listeners":                      strings.Join(listen, ","),
		"advertised.listeners":           strings.Join(advertise, ","),
		"listener.security.protocol.map": strings.Join(protocols, ","),
		"log.dirs":                       filepath.Join(b.dir, "data"),

		"auto.create.topics.enable":                        "false",
		"offsets.topic.replication.factor":                 replicas,
		"offsets.topic.num.partitions":                     "16",
		"transaction.state.log.replication.factor":         replicas,
		"transaction.state.log.min.isr":                    inSync,
		"transaction.state.log.num.partitions":             "16",
		"share.coordinator.state.topic.replication.factor": replicas,
		"share.coordinator.state.topic.min.isr":            inSync,
		"group.initial.rebalance.delay.ms":                 "0",
		"log.cleaner.dedupe.buffer.size":                   "33554432",
		"log.index.size.max.bytes":                         "1048576",
	}
	if c.o.Secure != nil {
		for k, v := range map[string]string{
			"sasl.enabled.mechanisms":                             "SCRAM-SHA-256,SCRAM-SHA-512",
			"listener.name.secure.scram-sha-256.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
			"listener.name.secure.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
			"listener.name.secure.ssl.keystore.type":              "PEM",
			"listener.name.secure.ssl.keystore.location":          b.keystore(),
			"listener.name.secure.ssl.client.auth":                "none",
		} {
			p[k] = v
		}
	}
	for k, v := range c.o.Properties {
		p[k] = v
	}
	return p
}

// freePort is a port of loopback that nobody has now.
func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
