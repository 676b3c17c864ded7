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
	"sync"
	"syscall"
	"time"
)

//go:embed log4j2.properties
var logging []byte

// broker is one broker's directory and process.
type broker struct {
	id    int
	dir   string
	ports map[string]int // by listener

	mu    sync.Mutex // guards cmd and ended
	cmd   *exec.Cmd
	ended chan struct{}
}

func (b *broker) addr(listener string) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(b.ports[listener]))
}

func (b *broker) keystore() string { return filepath.Join(b.dir, "keystore.pem") }

// reserve finds a port for each listener, the same ones again in a directory that was used before.
func (b *broker) reserve(listeners []string) error {
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
		if b.ports[name], err = freePort(); err != nil {
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
	config, err := b.writeConfig(properties)
	if err != nil {
		return err
	}
	args := append([]string{"-cp", filepath.Join(libs, "*"), "kafka.tools.StorageTool", "format", "--cluster-id", clusterID, "--config", config}, scram...)
	if out, err := exec.CommandContext(ctx, "java", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("formatting broker %d: %w\n%s", b.id, err, out)
	}
	return nil
}

func (b *broker) writeConfig(properties map[string]string) (string, error) {
	var text bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		fmt.Fprintf(&text, "%s=%s\n", key, properties[key])
	}
	file := filepath.Join(b.dir, "server.properties")
	return file, os.WriteFile(file, text.Bytes(), 0o600)
}

func (b *broker) start(libs, heap string, properties map[string]string) error {
	if b.running() {
		return fmt.Errorf("broker %d runs already", b.id)
	}
	config, err := b.writeConfig(properties)
	if err != nil {
		return err
	}
	logConfig := filepath.Join(b.dir, "log4j2.properties")
	if err := os.WriteFile(logConfig, logging, 0o600); err != nil {
		return err
	}
	log, err := os.OpenFile(b.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	cmd := exec.Command("java", "-Xms128m", "-Xmx"+heap, "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true",
		"-Dlog4j2.configurationFile="+logConfig, "-cp", filepath.Join(libs, "*"), "kafka.Kafka", config)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true} // Ctrl-C is for the one who started us
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting broker %d: %w", b.id, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // killed, most of the time; running tells
		close(ended)
	}()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cmd, b.ended = cmd, ended
	return nil
}

func (b *broker) process() (*os.Process, chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cmd == nil {
		return nil, nil
	}
	return b.cmd.Process, b.ended
}

func (b *broker) running() bool {
	process, ended := b.process()
	if process == nil {
		return false
	}
	select {
	case <-ended:
		return false
	default:
		return true
	}
}

func (b *broker) pid() int {
	if process, _ := b.process(); process != nil {
		return process.Pid
	}
	return 0
}

func (b *broker) kill() {
	if process, ended := b.process(); process != nil {
		_ = process.Kill() // it may have ended already
		<-ended
	}
}

// shutdownTime is how long a broker may take to hand its partitions over.
const shutdownTime = 30 * time.Second

func (b *broker) shutdown() {
	process, ended := b.process()
	if process == nil {
		return
	}
	_ = process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-ended:
	case <-time.After(shutdownTime):
		b.kill()
	}
}

func (b *broker) pause() error  { return b.signal(syscall.SIGSTOP) }
func (b *broker) resume() error { return b.signal(syscall.SIGCONT) }

func (b *broker) signal(s syscall.Signal) error {
	process, _ := b.process()
	if process == nil {
		return fmt.Errorf("broker %d does not run", b.id)
	}
	return process.Signal(s)
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
