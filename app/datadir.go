package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// dataDir is a data directory that this process alone uses.
type dataDir struct {
	path string
	lock *os.File
}

// openDataDir makes the directory and takes its lock. Errors are one line: not writable, or in use by which process.
func openDataDir(path string, reset bool) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("data directory %s: not writable: %w", path, bare(err))
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: not writable: %w", path, bare(err))
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("data directory %s: in use by process %s", path, owner(lock))
		}
		return nil, fmt.Errorf("data directory %s: locking: %w", path, err)
	}
	d := &dataDir{path: path, lock: lock}
	if reset {
		if err := d.clear(); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	if err := d.checkFormat(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, d.sign()
}

// join is a path below the directory.
func (d *dataDir) join(elements ...string) string {
	return filepath.Join(append([]string{d.path}, elements...)...)
}

// emptied is a directory below it for what lives as long as the process.
func (d *dataDir) emptied(name string) (string, error) {
	path := d.join(name)
	if err := errors.Join(os.RemoveAll(path), os.Mkdir(path, 0o700)); err != nil {
		return "", fmt.Errorf("data directory %s: not writable: %w", d.path, bare(err))
	}
	return path, nil
}

// Close gives the directory up.
func (d *dataDir) Close() error { return d.lock.Close() }

// sign writes the process id into the lock file, for those who find it locked.
func (d *dataDir) sign() error {
	if err := d.lock.Truncate(0); err != nil {
		return fmt.Errorf("data directory %s: not writable: %w", d.path, bare(err))
	}
	_, err := d.lock.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	return err
}

// dataFormat is the version of everything that a data directory holds. It counts up whenever an older directory cannot be read any more.
const dataFormat = "6"

// checkFormat refuses what another version has written, and notes the version in a directory that is new.
func (d *dataDir) checkFormat() error {
	found, err := os.ReadFile(d.join("format"))
	if err == nil && strings.TrimSpace(string(found)) == dataFormat {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("data directory %s: reading its format: %w", d.path, bare(err))
	}
	if d.hasAny("broker", "state", "warehouse") || err == nil {
		return fmt.Errorf("data directory %s: its format must be %s; name another directory (--data, server.data), or empty this one (sluice demo --reset)", d.path, dataFormat)
	}
	if err := os.WriteFile(d.join("format"), []byte(dataFormat+"\n"), 0o600); err != nil {
		return fmt.Errorf("data directory %s: not writable: %w", d.path, bare(err))
	}
	return nil
}

// hasAny tells whether one of the names is in the directory.
func (d *dataDir) hasAny(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		_, err := os.Stat(d.join(name))
		return err == nil
	})
}

// clear removes everything but the lock. It refuses a directory that holds something and was never one of data: its name was mistaken for another.
func (d *dataDir) clear() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	if len(entries) > 1 && !d.hasAny("format", "broker") {
		return fmt.Errorf("data directory %s: must be empty, or made by sluice, to be reset", d.path)
	}
	for _, e := range entries {
		if e.Name() == "lock" {
			continue
		}
		if err := os.RemoveAll(d.join(e.Name())); err != nil {
			return fmt.Errorf("resetting %s: %w", d.path, err)
		}
	}
	return nil
}

func owner(lock *os.File) string {
	data := make([]byte, 20)
	n, _ := lock.ReadAt(data, 0) // an empty file: the other process is just starting
	if pid := strings.TrimSpace(string(data[:n])); pid != "" {
		return pid
	}
	return "unknown"
}

// bare is the bare reason of a path error, whose path is told already.
func bare(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
