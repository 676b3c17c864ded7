package stream

import (
	"os"

	"pgregory.net/rapid"
)

// tempDir is t.TempDir for a property test: one directory per example.
func tempDir(t *rapid.T) string {
	dir, err := os.MkdirTemp("", "sluice-stream-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // left to the system's cleaner otherwise
	return dir
}
