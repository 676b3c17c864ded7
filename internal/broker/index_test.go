package broker

import (
	"os"
	"path/filepath"
	"testing"
)

// TestTornIndex: the broker died between a batch and its entry in the index. Found by systemtest/crash, seed 2: aborted records came back.
func TestTornIndex(t *testing.T) {
	dir := crashed(t, false, nil)
	paths, err := filepath.Glob(filepath.Join(dir, "partitions", topic+"-*", "*.idx"))
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, info.Size()-indexEntry); err != nil {
			t.Fatal(err)
		}
	}
	for start := range 3 { // what is written later must be described by its own entries
		b, err := Start(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if got := committed(t, b); len(got) > 0 {
			t.Errorf("start %d: aborted records are committed: %v", start, got)
		}
		dir = snapshot(t, dir)
	}
}
