package app

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
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
func openDataDir(path string, reset bool, tell io.Writer) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("data directory %s: not writable: %w", path, bare(err))
	}
	lock, made, err := openLock(filepath.Join(path, "lock"))
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
		err = d.clear(tell)
	}
	if err == nil {
		err = d.checkFormat()
	}
	if err != nil && made {
		err = errors.Join(err, os.Remove(lock.Name())) // the directory is somebody else's: it is left as it was
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, d.sign()
}

// openLock opens the lock file, and tells whether it made it.
func openLock(path string) (lock *os.File, made bool, err error) {
	lock, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		lock, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		return lock, false, err
	}
	return lock, true, err
}

// write makes a file as a whole: a crash leaves all of it or nothing under its name.
func (d *dataDir) write(name, text string) error {
	file, err := os.OpenFile(d.join(name+unfinished), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = file.WriteString(text)
		err = errors.Join(err, file.Sync(), file.Close())
	}
	if err == nil {
		err = os.Rename(file.Name(), d.join(name))
	}
	if err != nil {
		return fmt.Errorf("data directory %s: not writable: %w", d.path, bare(err))
	}
	return nil
}

// join is a path below the directory.
func (d *dataDir) join(elements ...string) string {
	return filepath.Join(append([]string{d.path}, elements...)...)
}

// emptied makes an empty directory below it, for files that live as long as the process.
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
const dataFormat = "8"

// formatFile marks a directory that Sluice made, and says in which format.
const formatFile = "format"

// marker is what the format file holds.
var marker = regexp.MustCompile(`^(?:Sluice data directory, format )?(\d+)\n?$`)

// format is the format of the directory, empty where it has none.
func (d *dataDir) format() (string, error) {
	found, err := os.ReadFile(d.join(formatFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("data directory %s: reading its format: %w", d.path, bare(err))
	}
	if match := marker.FindSubmatch(found); match != nil {
		return string(match[1]), nil
	}
	return "unknown", nil
}

// checkFormat refuses what another version has written, and notes the version in a directory that is new.
func (d *dataDir) checkFormat() error {
	format, err := d.format()
	if err != nil || format == dataFormat {
		return err
	}
	if format != "" || d.hasAny("broker", "state", "warehouse") {
		return fmt.Errorf("data directory %s: its format must be %s; name another directory (--data, server.data), or empty this one (sluice demo --reset)", d.path, dataFormat)
	}
	return d.write(formatFile, "Sluice data directory, format "+dataFormat+"\n")
}

// hasAny tells whether one of the names is in the directory.
func (d *dataDir) hasAny(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		_, err := os.Stat(d.join(name))
		return err == nil
	})
}

// unfinished is what the name of a file ends with until it is written as a whole.
const unfinished = ".new"

// madeHere are the names of everything that Sluice puts into a data directory.
var madeHere = []string{
	"broker", fingerprintFile, fingerprintFile + unfinished, formatFile, formatFile + unfinished, "keys", "lock", pastFile, pastFile + unfinished, "state", "views", "warehouse",
}

// clear says what it removes, and then removes everything but the lock. It refuses a directory without the marker, or with a file that Sluice does not make: the
// user has named the wrong directory.
func (d *dataDir) clear(tell io.Writer) error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		if !slices.Contains(madeHere, e.Name()) {
			return fmt.Errorf("data directory %s: must hold nothing but what sluice made, to be reset; it holds %s", d.path, e.Name())
		}
		if e.Name() != "lock" && e.Name() != formatFile {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return nil
	}
	if format, err := d.format(); err != nil || format == "" || format == "unknown" {
		return fmt.Errorf("data directory %s: must have been made by sluice, to be reset", d.path)
	}
	names = append(names, formatFile) // the marker goes last
	fmt.Fprintf(tell, "reset: removing %s from %s\n", strings.Join(names, ", "), d.path)
	for _, name := range names {
		if err := os.RemoveAll(d.join(name)); err != nil {
			return fmt.Errorf("resetting %s: %w", d.path, err)
		}
	}
	return nil
}

// fingerprintFile holds the fingerprint of the root key that the directory was made with.
const fingerprintFile = "root_key.fingerprint"

// checkKey writes the fingerprint of the root key into a new directory. It refuses another key later: nothing in the directory could be read with it.
func (d *dataDir) checkKey(fingerprint string) error {
	found, err := os.ReadFile(d.join(fingerprintFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return d.write(fingerprintFile, fingerprint+"\n")
	case err == nil && strings.TrimSpace(string(found)) != fingerprint:
		return fmt.Errorf("data directory %s: the root key must be the one that it was made with (fingerprint %s, not %s)", d.path, strings.TrimSpace(string(found)), fingerprint)
	}
	if err != nil {
		return fmt.Errorf("data directory %s: %w", d.path, err)
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

// bare is the reason of a path error without the path, which the caller tells.
func bare(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
