package kraft

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"sluice/internal/process"
)

//go:embed log4j2.properties
var logging []byte

// broker is one broker's directory and process.
type broker struct {
	id    int
	dir   string
	ports map[string]int // by listener

	process *process.Process
}

func (b *broker) addr(listener string) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(b.ports[listener]))
}

func (b *broker) keystore() string { return filepath.Join(b.dir, "keystore.pem") }

// reserve finds a port for each listener, the same ones again in a directory that was used before.
func (b *broker) reserve(ctx context.Context, listeners []string) error {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	file := filepath.Join(b.dir, "ports.json")
	b.ports = make(map[string]int)
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &b.ports)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, name := range listeners {
		if b.ports[name] != 0 {
			continue
		}
		if b.ports[name], err = freePort(ctx); err != nil {
			return err
		}
	}
	if data, err = json.Marshal(b.ports); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}

// clusterID is the same for all brokers of all local clusters: nothing else tells them apart than their directories.
const clusterID = "c2x1aWNlLWxvY2FsLWtmaw"

// format prepares a new data directory.
func (b *broker) format(ctx context.Context, libs string, properties map[string]string, scram []string) error {
	if _, err := os.Stat(filepath.Join(b.dir, "data", "meta.properties")); err == nil {
		return nil
	}
	if err := b.writeConfig(properties); err != nil {
		return err
	}
	args := append([]string{"-cp", filepath.Join(libs, "*"), "kafka.tools.StorageTool", "format", "--cluster-id", clusterID, "--config", b.config()}, scram...)
	if out, err := exec.CommandContext(ctx, "java", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("formatting broker %d: %w\n%s", b.id, err, out)
	}
	return nil
}

func (b *broker) config() string { return filepath.Join(b.dir, "server.properties") }

func (b *broker) writeConfig(properties map[string]string) error {
	var text bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		fmt.Fprintf(&text, "%s=%s\n", key, properties[key])
	}
	return os.WriteFile(b.config(), text.Bytes(), 0o600)
}

// prepare writes what the process reads, and makes it.
func (b *broker) prepare(libs string, java []string) error {
	logConfig := filepath.Join(b.dir, "log4j2.properties")
	if err := os.WriteFile(logConfig, logging, 0o600); err != nil {
		return err
	}
	b.process = process.New(process.Options{
		Name: "broker-" + strconv.Itoa(b.id), Path: "java", Log: b.logFile(),
		Args: append(java, "-Dlog4j2.configurationFile="+logConfig, "-cp", filepath.Join(libs, "*"), "kafka.Kafka", b.config()),
	})
	return nil
}

func (b *broker) start(properties map[string]string) error {
	if err := b.writeConfig(properties); err != nil {
		return err
	}
	return b.process.Start()
}

// kill ends the broker, if it runs.
func (b *broker) kill() error {
	if !b.process.Running() {
		return nil
	}
	return b.process.Kill()
}

// shutdownTime is how long a broker may take to hand its partitions over.
const shutdownTime = 10 * time.Second

// shutdown lets the broker end in order. It kills one that takes too long: the last ones of a cluster wait for others that are gone.
func (b *broker) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	if err := b.process.Terminate(ctx); ctx.Err() == nil && err != nil && b.process.Running() {
		return err
	}
	return b.kill()
}

func (b *broker) logFile() string { return filepath.Join(b.dir, "broker.log") }

// logTail is the end of the broker's log.
func (b *broker) logTail() []byte {
	const most = 4000
	data, err := os.ReadFile(b.logFile())
	if err != nil {
		return []byte(err.Error())
	}
	return data[max(0, len(data)-most):]
}
