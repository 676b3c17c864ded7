package seal

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"testing"
)

// TestMACIsCMAC: the examples of NIST SP 800-38B for AES-256, written at once and in parts of every size.
func TestMACIsCMAC(t *testing.T) {
	key, _ := hex.DecodeString("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
	message, _ := hex.DecodeString("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
	mac := NewMAC([32]byte(key))
	for length, want := range map[int]string{
		0: "028962f61b7bf89efc6b551f4667d983", 16: "28a7023f452e8f82bd4bf28d8c37c35c",
		40: "aaf3d8f1de5640c232f5b169b9c911e6", 64: "e1992190549f6ed5696a2c056c315410",
	} {
		for part := 1; part <= 65; part++ {
			sum := mac.Append([]byte("before"))
			for rest := message[:length]; len(rest) > 0; {
				k := min(part, len(rest))
				if sum.Bytes(rest[:k]); k == 1 && len(rest) > 1 {
					sum.Byte(rest[1])
					k++
				}
				rest = rest[k:]
			}
			if got := sum.End(); hex.EncodeToString(got[6:]) != want || !bytes.HasPrefix(got, []byte("before")) {
				t.Errorf("%d bytes in parts of %d: got %x, want %s", length, part, got, want)
			}
		}
	}
}

func TestMACTakesTextAndNumbersAsBytes(t *testing.T) {
	mac := NewMAC([32]byte{1})
	a, b := mac.Append(nil), mac.Append(nil)
	a.Text("a subject of some length")
	a.Uint64(0x0102030405060708)
	b.Bytes([]byte("a subject of some length\x01\x02\x03\x04\x05\x06\x07\x08"))
	if x, y := a.End(), b.End(); !bytes.Equal(x, y) || len(x) != aes.BlockSize {
		t.Errorf("%x and %x", x, y)
	}
}

func BenchmarkMAC(b *testing.B) {
	mac := NewMAC([32]byte{1})
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		sum := mac.Append(out[:0])
		sum.Text("=subject")
		sum.Uint64(0)
		sum.Text("u:customer-4711")
		out = sum.End()
	}
}
