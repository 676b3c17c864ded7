package parquet

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
)

// manifestName is the file that says which files live, and up to which offset each partition is stored.
const manifestName = "manifest"

// file is one Parquet file.
type file struct {
	Table string `json:"table"`
	Day   string `json:"day"`  // 2026-11-24
	Name  string `json:"name"` // without the directories
	Rows  int64  `json:"rows"`
	Size  int64  `json:"size"`
	Level int    `json:"level,omitempty"` // how often its rows were merged

	filter atomic.Pointer[filter] // of its subjects; nil = it was not made
}

// path is the file's, below the store's directory.
func (f *file) path() string { return filepath.Join(f.Table, "day="+f.Day, f.Name) }

// change is one step of the store: files that come, files that go and what is stored by it, all at once.
type change struct {
	Format int              `json:"format,omitempty"` // of the first line of a manifest
	Number uint64           `json:"number"`           // highest one of a file
	Add    []*file          `json:"add,omitempty"`
	Drop   []string         `json:"drop,omitempty"` // paths
	Next   map[string]int64 `json:"next,omitempty"` // deployment/topic/partition → offset after what is stored
}

// manifest is a journal of changes, each on a line of its own: CRC-32C in hexadecimal, a space, JSON. The first line is the whole state of the time at
// which the file was written. When the changes have outgrown the state, a new file takes its place by a rename, so that the cost of a change does not
// grow with the number of days.
//
// Why a crash leaves nothing half done: a change's files are complete (and, with sync, durable) before its line is written, and files that it drops are
// removed after. A line that a crash cut off has no line feed and is not there for the next reader: its files are strays, which Open removes. A line that
// ends with a line feed but does not fit its checksum was damaged later, and so was one in the middle: that is an error, never a guess.
type manifest struct {
	path  string
	sync  bool
	live  map[string]*file // by path
	next  map[string]int64 // by keyOf
	last  uint64           // highest number of a file that was ever given
	file  *os.File
	size  int64 // of the lines that count
	state int64 // of the first line
	torn  bool  // a write failed: there may be more in the file than size
}

const (
	manifestFormat = 2         // in format 1, keys had no deployment
	slackBytes     = 256 << 10 // changes may outgrow the state by so much
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// keyOf names a partition of a deployment's log.
func keyOf(deployment, partition string) string { return deployment + "/" + partition }

// openManifest reads the manifest of a directory, or makes one for a directory without tables. What a manifest of format 1 holds becomes the deployment's.
func openManifest(dir, deployment string, sync bool) (*manifest, error) {
	m := &manifest{path: filepath.Join(dir, manifestName), sync: sync, live: make(map[string]*file), next: make(map[string]int64)}
	f, err := os.OpenFile(m.path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if strays, err := filepath.Glob(filepath.Join(dir, "*", "day=*", "*"+extension)); err != nil || len(strays) > 0 {
			return nil, fmt.Errorf("opening the warehouse: %s is missing, but there are Parquet files beside it: there must be both or neither", m.path)
		}
		return m, m.rewrite()
	}
	if err != nil {
		return nil, fmt.Errorf("opening the warehouse: %w", err)
	}
	m.file = f
	format, err := m.read()
	if err == nil && format < manifestFormat {
		err = m.adopt(deployment)
	}
	if err != nil {
		m.file.Close()
		return nil, fmt.Errorf("opening the warehouse: %s: %w", m.path, err)
	}
	return m, nil
}

// adopt makes the partitions of format 1 those of a deployment, for good.
func (m *manifest) adopt(deployment string) error {
	next := make(map[string]int64, len(m.next))
	for partition, offset := range m.next {
		next[keyOf(deployment, partition)] = offset
	}
	m.next = next
	return m.rename()
}

// read applies every line, and cuts off one that a crash left unfinished.
func (m *manifest) read() (format int, err error) {
	in := bufio.NewReaderSize(m.file, 64<<10)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if n == 1 {
				return 0, errors.New("damaged: must have a first line")
			}
			m.torn = len(line) > 0
			return format, m.mend()
		}
		if err != nil {
			return 0, err
		}
		c, err := parseLine(line)
		if err == nil && n == 1 && (c.Format < 1 || c.Format > manifestFormat) {
			err = fmt.Errorf("format must be at most %d", manifestFormat)
		}
		if err == nil {
			err = m.check(c)
		}
		if err != nil {
			return 0, fmt.Errorf("line %d: %w", n, err)
		}
		m.apply(c)
		if m.size += int64(len(line)); n == 1 {
			format, m.state = c.Format, m.size
		}
	}
}

func parseLine(line []byte) (*change, error) {
	sum, text, ok := bytes.Cut(bytes.TrimSuffix(line, []byte{'\n'}), []byte{' '})
	want, err := strconv.ParseUint(string(sum), 16, 32)
	if !ok || err != nil || uint32(want) != crc32.Checksum(text, castagnoli) {
		return nil, errors.New("damaged: must fit its checksum")
	}
	c := new(change)
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("damaged: %w", err)
	}
	return c, nil
}

// check tells whether the change fits what is there.
func (m *manifest) check(c *change) error {
	for _, path := range c.Drop {
		if m.live[path] == nil {
			return fmt.Errorf("drops %s, which is not there", path)
		}
	}
	for _, f := range c.Add {
		if m.live[f.path()] != nil {
			return fmt.Errorf("adds %s, which is there already", f.path())
		}
	}
	return nil
}

func (m *manifest) apply(c *change) {
	m.last = max(m.last, c.Number)
	for _, path := range c.Drop {
		delete(m.live, path)
	}
	for _, f := range c.Add {
		m.live[f.path()] = f
	}
	for at, next := range c.Next {
		m.next[at] = next
	}
}

// write makes the change durable; apply must follow. After an error the line may still turn up if the process ends now, so the change's files must stay.
func (m *manifest) write(c *change) error {
	if err := m.check(c); err != nil {
		return fmt.Errorf("changing %s: %w", m.path, err)
	}
	if err := m.mend(); err != nil {
		return fmt.Errorf("changing %s: %w", m.path, err)
	}
	line, err := lineOf(c)
	if err != nil {
		return err
	}
	m.torn = true
	if _, err := m.file.WriteAt(line, m.size); err != nil {
		return fmt.Errorf("changing %s: %w", m.path, err)
	}
	if m.sync {
		if err := m.file.Sync(); err != nil {
			return fmt.Errorf("changing %s: %w", m.path, err)
		}
	}
	m.torn = false
	m.size += int64(len(line))
	return nil
}

// mend cuts off what a failed write may have left.
func (m *manifest) mend() error {
	if !m.torn {
		return nil
	}
	if err := m.file.Truncate(m.size); err != nil {
		return err
	}
	if m.sync {
		if err := m.file.Sync(); err != nil {
			return err
		}
	}
	m.torn = false
	return nil
}

func lineOf(c *change) ([]byte, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	line := fmt.Appendf(nil, "%08x ", crc32.Checksum(text, castagnoli))
	return append(append(line, text...), '\n'), nil
}

// overgrown tells whether it is time for rewrite.
func (m *manifest) overgrown() bool { return m.size-m.state > m.state+slackBytes }

// rewrite puts a new file with the present state in the manifest's place.
func (m *manifest) rewrite() error {
	if err := m.rename(); err != nil {
		return fmt.Errorf("writing %s: %w", m.path, err)
	}
	return nil
}

func (m *manifest) rename() error {
	c := &change{Format: manifestFormat, Number: m.last, Next: m.next}
	for _, f := range m.live {
		c.Add = append(c.Add, f)
	}
	slices.SortFunc(c.Add, func(a, b *file) int { return bytes.Compare([]byte(a.path()), []byte(b.path())) })
	line, err := lineOf(c)
	if err != nil {
		return err
	}
	next, err := os.Create(m.path + ".new")
	if err != nil {
		return err
	}
	if _, err = next.Write(line); err == nil && m.sync {
		err = next.Sync()
	}
	if err == nil {
		err = os.Rename(next.Name(), m.path)
	}
	if err != nil {
		next.Close()
		return err
	}
	if m.file != nil {
		m.file.Close()
	}
	m.file, m.size, m.state, m.torn = next, int64(len(line)), int64(len(line)), false
	return syncDir(filepath.Dir(m.path), m.sync)
}

func (m *manifest) close() error { return m.file.Close() }

// syncDir makes the names in a directory durable.
func syncDir(dir string, sync bool) error {
	if !sync {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
