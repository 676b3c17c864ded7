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
	ab.subtract(b)
	if ab != a {
		t.Error("subtracting does not undo adding")
	}
	var zero sum256
	zero.subtract(sum256{1})
	if !bytes.Equal(zero.bytes(), bytes.Repeat([]byte{0xff}, 32)) {
		t.Errorf("0 − 1 = %x", zero.bytes())
	}
	if hashPair([]byte("ab"), []byte("c")) == hashPair([]byte("a"), []byte("bc")) {
		t.Error("key and value run together")
	}
}
