package kraft

import (
	"regexp"
	"testing"
)

// TestVersion compares the two places that name what is fetched.
func TestVersion(t *testing.T) {
	named := regexp.MustCompile(`<artifactId>kafka_2\.13</artifactId>\s*<version>(.*)</version>`).FindSubmatch(pom)
	if named == nil || string(named[1]) != Version {
		t.Errorf("pom.xml names %q, Version is %s", named, Version)
	}
}
