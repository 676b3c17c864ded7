package stream

import (
	"bytes"
	"testing"
)

func TestSum256IsModular(t *testing.T) {
	a, b := hashPair([]byte("a"), []byte("1")), hashPair([]byte("b"), []byte("2"))
	var ab, ba sum256
	ab.add(a)
	ab.add(b)
	ba.add(b)
	ba.add(a)
	if ab != ba {
		t.Error("the order of addition shows")
	}
	all := sum256{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
	all.add(sum256{1})
	if !bytes.Equal(all.bytes(), make([]byte, 32)) {
		t.Errorf("−1 + 1 = %x", all.bytes())
	}
	if hashPair([]byte("ab"), []byte("c")) == hashPair([]byte("a"), []byte("bc")) {
		t.Error("key and value run together")
	}
}
