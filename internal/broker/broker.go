// Package broker runs the embedded Kafka-protocol broker: one node on loopback with a data directory, for one machine.
// A record is durable when it is acknowledged: it survives the death of the process, and with Sync also the loss of power.
package broker

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/stream"
)

// Options of the embedded broker.
type Options struct {
	Dir  string // data directory, made if missing
	Sync bool   // fsync before every acknowledgement: survives power loss, far slower
	Port int    // 0: a free one
	// Partitions of every keyed topic, for a directory that is new; DefaultPartitions if 0. A directory that has a number keeps it.
	Partitions int32
}

// DefaultPartitions are as many as a few cores have work for: each that a transaction writes costs writes and reads of its own.
const DefaultPartitions = 4

// Broker is a running broker.
type Broker struct {
	cluster *kfake.Cluster
	dir     string
	door    *exchange
	parts   int32
	stop    chan struct{}
	stopped sync.WaitGroup
	closing sync.Once

	transactions sync.RWMutex // held for reading by open transactions, for writing by compaction
}

// compactEvery is how often compacted topics are compacted and expired records removed. Each time stalls the broker for as long as reading its
// compacted topics takes (about a second a gigabyte), and leases are a second long.
const compactEvery = 5 * time.Minute

// segmentBytes is how large the broker's files grow. At a start it reads the files of all partitions at once, each into memory as a whole.
const segmentBytes = 16 << 20

// Start opens the data directory and listens on 127.0.0.1, for other processes; this one comes by Cluster.
func Start(o Options) (*Broker, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the broker's data directory: %w", err)
	}
	partitions, err := keptPartitions(o)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(runningFile(o.Dir)); err == nil {
		if err := mendIndexes(o.Dir); err != nil {
			return nil, err
		}
	}
	var door *exchange
	opts := []kfake.Opt{
		kfake.ListenFn(func(network, address string) (_ net.Listener, err error) {
			door, err = listen(network, address)
			return door, err
		}),
		kfake.NumBrokers(1),
		kfake.Ports(o.Port),
		kfake.DataDir(o.Dir),
		kfake.ClusterID("sluice"),
		kfake.BrokerConfigs(map[string]string{
			"message.max.bytes":      "16777216",
			"log.segment.bytes":      strconv.Itoa(segmentBytes),
			"log.cleaner.backoff.ms": "315360000000", // never by itself: it would not wait for open transactions
			"log.retention.ms":       "-1",           // else it takes what is older than a week from compacted topics, too
		}),
		kfake.WithLogger(kfake.BasicLogger(io.Discard, kfake.LogLevelNone)),
	}
	if o.Sync {
		opts = append(opts, kfake.SyncWrites())
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, fmt.Errorf("starting the embedded broker on %s: %w", o.Dir, err)
	}
	b := &Broker{cluster: cluster, dir: o.Dir, door: door, parts: partitions, stop: make(chan struct{})}
	if err := b.open(); err != nil {
		cluster.Close()
		return nil, fmt.Errorf("opening the embedded broker on %s: %w", o.Dir, err)
	}
	b.stopped.Go(b.maintain)
	return b, nil
}

// keptPartitions is the number of partitions that the directory was made with. One that is new gets it now, and keeps it: to change it would move keys.
func keptPartitions(o Options) (int32, error) {
	path := filepath.Join(o.Dir, "partition-count") // "partitions" is the broker's own
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		n := o.Partitions
		if n == 0 {
			n = DefaultPartitions
		}
		return n, os.WriteFile(path, fmt.Appendf(nil, "%d\n", n), 0o600)
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 32)
	if err != nil || n < 1 || n > stream.Partitions {
		return 0, fmt.Errorf("%s must hold a number between 1 and %d", path, stream.Partitions)
	}
	if o.Partitions != 0 && o.Partitions != int32(n) {
		return 0, fmt.Errorf("kafka.partitions must be %d, as %s was made with; another number needs another data directory, or --reset", n, o.Dir)
	}
	return int32(n), nil
}

// maintain compacts now and then.
func (b *Broker) maintain() {
	ticker := time.NewTicker(compactEvery)
	defer ticker.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-ticker.C:
			b.Compact()
		}
	}
}

// Compact compacts the compacted topics and removes what has expired, once no transaction is open that entered through a journal. While one is open, the broker
// would take what it wrote for the newest of its key, and an abort would then leave nothing of that key.
func (b *Broker) Compact() {
	b.transactions.Lock()
	defer b.transactions.Unlock()
	b.cluster.Compact()
}

// open mends what an unclean stop left, and notes that the broker runs.
func (b *Broker) open() error {
	_, err := os.Stat(b.running())
	if err == nil {
		if err := b.repair(); err != nil {
			return fmt.Errorf("repairing after an unclean stop: %w", err)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(b.running(), nil, 0o600)
}

// running is the file that is there from the start to a clean stop.
func (b *Broker) running() string { return runningFile(b.dir) }

func runningFile(dir string) string { return filepath.Join(dir, "running") }

// wholeFetch is more than an answer can hold, with a partition's own bound. An answer that is cut off lacks which of its last partition's transactions were
// aborted: a reader would take their records for committed ones.
const wholeFetch = 1 << 29

// Cluster is the broker as this process reaches it: in memory. Clients must not set a bound on fetches as a whole.
func (b *Broker) Cluster(prefix string) stream.Cluster {
	options := []kgo.Opt{kgo.Dialer(b.door.dial), kgo.FetchMaxBytes(wholeFetch), kgo.BrokerMaxReadBytes(2 * wholeFetch)}
	return stream.Cluster{Brokers: b.Addrs(), Prefix: prefix, Options: options, Partitions: b.parts}
}

// Addrs are the broker's addresses for other processes, host:port.
func (b *Broker) Addrs() []string { return b.cluster.ListenAddrs() }

// Close writes everything and stops. Clients should be closed before it. A second call does nothing.
func (b *Broker) Close() { b.closing.Do(b.close) }

func (b *Broker) close() {
	close(b.stop)
	b.stopped.Wait()
	b.cluster.Close()
	_ = os.Remove(b.running()) // if it stays, the next start looks for damage and finds none
}
