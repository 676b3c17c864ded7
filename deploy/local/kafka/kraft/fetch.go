package kraft

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Version is the version of Apache Kafka that is run; pom.xml names it, too, and a test compares.
const Version = "4.1.0"

//go:embed pom.xml
var pom []byte

// Fetch puts the broker's jars (43 MB) into the user's cache directory with Maven, once, and returns their directory.
// It needs a Java runtime (17 or newer) and Maven; an error says which of them is missing.
func Fetch(ctx context.Context) (string, error) {
	for _, tool := range []struct{ name, debian string }{{"java", "openjdk-17-jre-headless"}, {"mvn", "maven"}} {
		if _, err := exec.LookPath(tool.name); err != nil {
			return "", fmt.Errorf("%s is not installed, and Apache Kafka needs it (Debian: apt-get install %s)", tool.name, tool.debian)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the user's cache directory: %w", err)
	}
	libs := filepath.Join(cache, "sluice-engines", "kafka", Version)
	if _, err := os.Stat(libs); err == nil {
		return libs, nil
	}
	return libs, resolve(ctx, libs)
}

// resolve lets Maven copy the jars beside where they belong, and renames them there when all have come.
func resolve(ctx context.Context, libs string) (err error) {
	if err := os.MkdirAll(filepath.Dir(libs), 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(libs), "fetching-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if err := os.WriteFile(filepath.Join(work, "pom.xml"), pom, 0o600); err != nil {
		return err
	}
	jars := filepath.Join(work, "jars")
	mvn := exec.CommandContext(ctx, "mvn", "-q", "-B", "-ntp", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+jars)
	mvn.Dir = work
	if out, err := mvn.CombinedOutput(); err != nil {
		return fmt.Errorf("fetching Apache Kafka %s with Maven: %w\n%s", Version, err, out)
	}
	if err := os.Rename(jars, libs); err != nil && !errors.Is(err, os.ErrExist) {
		if _, there := os.Stat(libs); there == nil {
			return nil // another process was faster
		}
		return err
	}
	return nil
}
