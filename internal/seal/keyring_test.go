package seal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestOpenKeepsTheRootKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	first, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if first.Derive("x") != second.Derive("x") {
		t.Error("a second opening derives another key")
	}
	info, err := os.Stat(filepath.Join(dir, "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("root key has mode %o, expected 600", mode)
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
	if k.DedupeHash("u:a", "bc") == k.DedupeHash("u:ab", "c") {
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
