package seal

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCreateMakesAKeyOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "root.key")
	if _, err := Open(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("opening before there is a key: %v", err)
	}
	if err := Create(path); err != nil {
		t.Fatal(err)
	}
	first, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("making a second key: %v", err)
	}
	second, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if first.Derive("x") != second.Derive("x") {
		t.Error("a second opening derives another key")
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("root key has mode %o, expected 600", mode)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%d files beside the key, %v", len(entries)-1, err)
	}
}

func TestOpenRefusesWhatIsNoKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "must have 32 bytes, and has 5") {
		t.Errorf("got %v", err)
	}
}

func TestSealAuthenticates(t *testing.T) {
	k := NewKeyring([32]byte{1})
	id, sealed := k.Seal([]byte("payload"), []byte("key"))
	plain, err := k.Unseal(id, sealed, []byte("key"))
	if err != nil || !bytes.Equal(plain, []byte("payload")) {
		t.Fatalf("unsealed %q, %v", plain, err)
	}
	if _, err := k.Unseal(id, sealed, []byte("other")); err == nil {
		t.Error("unsealed under another record's key")
	}
	if _, err := k.Unseal(99, sealed, nil); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("unknown key id: %v", err)
	}
	if _, err := k.Unseal(id, sealed[:5], []byte("key")); err == nil {
		t.Error("unsealed a truncated payload")
	}
}

func TestPseudonymsDoNotCollideAcrossFields(t *testing.T) {
	k := NewKeyring([32]byte{1})
	if k.DedupeHash("u:a", 1, "bc") == k.DedupeHash("u:ab", 1, "c") || k.DedupeHash("u:a", 1, "b") == k.DedupeHash("u:a", 2, "b") {
		t.Error("subject and id run together")
	}
	if k.LogKey("u:a") == k.LogKey("a:a") {
		t.Error("users and visitors share a pseudonym")
	}
}

func BenchmarkLogKey(b *testing.B) {
	k := NewKeyring([32]byte{1})
	b.ReportAllocs()
	for b.Loop() {
		k.LogKey("u:customer-4711")
	}
}

func BenchmarkSeal(b *testing.B) {
	k, body := NewKeyring([32]byte{1}), make([]byte, 300)
	b.ReportAllocs()
	for b.Loop() {
		k.Seal(body, body[:16])
	}
}
