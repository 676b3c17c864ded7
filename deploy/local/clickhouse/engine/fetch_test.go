package engine

import (
	"archive/zip"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func writeWheel(t *testing.T, names ...string) string {
	t.Helper()
	wheel := filepath.Join(t.TempDir(), "some.whl")
	file, err := os.Create(wheel)
	if err != nil {
		t.Fatal(err)
	}
	archive := zip.NewWriter(file)
	for _, name := range names {
		member, err := archive.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := member.Write([]byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return wheel
}

// TestUnpack: only shared libraries, and none outside of the directory.
func TestUnpack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "unpacked")
	if err := unpack(writeWheel(t, "chdb/a.so", "chdb/a.py", "libs/b.so", "../c.so"), dir); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := filepath.WalkDir(filepath.Dir(dir), func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			got = append(got, strings.TrimPrefix(name, dir))
		}
		return err
	})
	if want := []string{"/chdb/a.so", "/libs/b.so"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("unpacked %v (%v), %v expected", got, err, want)
	}
}

func TestVerify(t *testing.T) {
	if err := verify(writeWheel(t, "chdb/a.so")); err == nil || !strings.Contains(err.Error(), wheelSHA256) {
		t.Errorf("a wrong wheel: %v", err)
	}
}
