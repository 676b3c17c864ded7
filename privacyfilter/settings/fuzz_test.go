package settings

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"testing"

	"sluice/internal/seal"
)

// FuzzHistoryCursor: no text is a cursor of a person's history but one that was sealed for this very person.
func FuzzHistoryCursor(f *testing.F) {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails; each of the processes that fuzz has its own, and takes the others' seeds for foreign
	s := &service{Options: Options{Ring: seal.NewKeyring(key)}}
	genuine := s.sealCursor("u:ada", Position{Time: 7, Event: []byte("event")})
	sealed, err := base64.RawURLEncoding.DecodeString(genuine)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(genuine, "u:ada")
	f.Add(genuine, "u:bea")
	f.Add("AAAA", "a:v")
	f.Add("", "a:v")
	f.Fuzz(func(t *testing.T, text, subject string) {
		at, err := s.openCursor(subject, text)
		data, _ := base64.RawURLEncoding.DecodeString(text) // passes over ends of lines, and over what is left of the last character
		switch {
		case text == "":
			if err != nil || !at.IsZero() {
				t.Errorf("no cursor: %+v, %v", at, err)
			}
		case bytes.Equal(data, sealed) && subject == "u:ada":
			if err != nil || at.Time != 7 || !bytes.Equal(at.Event, []byte("event")) {
				t.Errorf("the genuine one: %+v, %v", at, err)
			}
		case err == nil:
			t.Errorf("%q of %q is read as %+v", text, subject, at)
		}
	})
}
