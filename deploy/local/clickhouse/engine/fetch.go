package engine

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// The package that ships the engine as a shared library, and the SHA-256 of its wheel, which covers every file in it.
const (
	distribution = "chdb-core"
	release      = "26.9.0"
	wheelSHA256  = "707e2ec3fe0f7953bac97942eaeb7a1ed1d66b1e56ecef3f0aa2130f61f6e735"
	platform     = "linux/amd64" // of the wheel
)

// ErrNoClient says that this machine cannot have the engine: there is no wheel for it, or no Python with pip to fetch and host it.
var ErrNoClient = errors.New("the ClickHouse engine cannot be fetched")

// Fetch puts the engine's library (180 MB, unpacked 560 MB) into the user's cache directory with pip, once, and returns the directory.
func Fetch(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the user's cache directory: %w", err)
	}
	return fetch(ctx, filepath.Join(cache, "sluice-engines", "clickhouse"))
}

func fetch(ctx context.Context, cache string) (string, error) {
	dir := filepath.Join(cache, release)
	library := filepath.Join(dir, "chdb")
	if _, err := os.Stat(library); err == nil {
		return library, nil
	}
	if err := checkClient(ctx); err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(cache, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(library); err == nil {
		return library, nil // another process was faster
	}
	return library, install(ctx, cache, dir)
}

func checkClient(ctx context.Context) error {
	if here := runtime.GOOS + "/" + runtime.GOARCH; here != platform {
		return fmt.Errorf("%w: its wheel is for %s, and this machine is %s", ErrNoClient, platform, here)
	}
	if _, err := exec.LookPath("python3"); err != nil {
		return fmt.Errorf("%w: python3 is not installed (Debian: apt-get install python3 python3-pip)", ErrNoClient)
	}
	if err := exec.CommandContext(ctx, "python3", "-m", "pip", "--version").Run(); err != nil {
		return fmt.Errorf("%w: python3 has no pip (Debian: apt-get install python3-pip)", ErrNoClient)
	}
	return nil
}

// lock waits until no other process has the lock.
func lock(name string) (unlock func(), err error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		file.Close()
		return nil, fmt.Errorf("locking %s: %w", name, err)
	}
	return func() { file.Close() }, nil
}

// install unpacks the wheel beside where it belongs, and renames it there when all is well.
func install(ctx context.Context, cache, dir string) (err error) {
	work, err := os.MkdirTemp(cache, "fetching-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	wheel, err := download(ctx, work)
	if err != nil {
		return err
	}
	if err := verify(wheel); err != nil {
		return err
	}
	unpacked := filepath.Join(work, "unpacked")
	if err := unpack(wheel, unpacked); err != nil {
		return fmt.Errorf("unpacking the engine: %w", err)
	}
	return os.Rename(unpacked, dir)
}

func download(ctx context.Context, dir string) (wheel string, err error) {
	cmd := exec.CommandContext(ctx, "python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
		"--no-deps", "--no-cache-dir", "--only-binary=:all:", "--dest", dir, distribution+"=="+release)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetching %s %s with pip: %w\n%s", distribution, release, err, out)
	}
	wheels, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil {
		return "", err
	}
	if len(wheels) != 1 {
		return "", fmt.Errorf("fetching %s %s with pip: it must give one wheel, and gave %d", distribution, release, len(wheels))
	}
	return wheels[0], nil
}

func verify(wheel string) error {
	file, err := os.Open(wheel)
	if err != nil {
		return err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return err
	}
	if sum := hex.EncodeToString(hash.Sum(nil)); sum != wheelSHA256 {
		return fmt.Errorf("%s has SHA-256 %s and must have %s", filepath.Base(wheel), sum, wheelSHA256)
	}
	return nil
}

// unpack writes the wheel's shared libraries; its Python code is not needed.
func unpack(wheel, dir string) (err error) {
	archive, err := zip.OpenReader(wheel)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, archive.Close()) }()
	for _, member := range archive.File {
		if !strings.HasSuffix(member.Name, ".so") || !filepath.IsLocal(member.Name) {
			continue
		}
		if err := unpackMember(member, filepath.Join(dir, member.Name)); err != nil {
			return err
		}
	}
	return nil
}

func unpackMember(member *zip.File, name string) (err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	in, err := member.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
