package pseudonym

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"sluice/internal/seal"
	"sluice/internal/vocab"
	"sluice/privacyfilter"
)

var purposes = []string{privacyfilter.History, privacyfilter.Trending, privacyfilter.Risk, privacyfilter.Personalize, "marketing.sms"}

// TestNothingJoinsTwoPurposes: no value that one purpose holds of a person equals one that another purpose, another person or another kind has.
// (REQ-180: without the keys nobody is identified, and the keys of two purposes are different ones.)
func TestNothingJoinsTwoPurposes(t *testing.T) {
	k := New(seal.NewKeyring([32]byte{1}))
	seen := make(map[[Size]byte]string)
	check := func(sum [Size]byte, what string) {
		t.Helper()
		if other, ok := seen[sum]; ok {
			t.Errorf("%s and %s are one pseudonym", what, other)
		}
		seen[sum] = what
	}
	for _, p := range purposes {
		for _, subject := range []string{"u:1", "a:1", "u:11"} {
			for incarnation := range uint32(2) {
				check(k.Subject(p, subject, incarnation), fmt.Sprint(p, " subject ", subject, incarnation))
			}
			for _, id := range []string{"1", "11", "u:1"} {
				check(k.Event(p, subject, vocab.Type_LOGIN, id), fmt.Sprint(p, " event ", subject, id))
			}
			for offset := range int64(2) {
				floor := k.Floor(p, subject, privacyfilter.Revision{Generation: 1, Partition: 2, Offset: offset})
				check([Size]byte(floor), fmt.Sprint(p, " floor ", subject, offset))
			}
			for _, kind := range []string{"session", "order", "device"} {
				check(k.Identifier(p, kind, subject), fmt.Sprint(p, kind, subject))
			}
		}
	}
}

func TestContributorRotatesWithItsWindow(t *testing.T) {
	k := New(seal.NewKeyring([32]byte{1}))
	if k.Contributor("u:1", 0, 7) != New(seal.NewKeyring([32]byte{1})).Contributor("u:1", 0, 7) {
		t.Error("the key is not stable in its window")
	}
	if k.Contributor("u:1", 0, 7) == k.Contributor("u:1", 0, 8) || k.Contributor("u:1", 0, 7) == k.Contributor("u:1", 1, 7) {
		t.Error("two windows or incarnations can be joined")
	}
}

func TestEventOpensForItsSubjectAlone(t *testing.T) {
	k := New(seal.NewKeyring([32]byte{1}))
	event := k.Event(privacyfilter.History, "u:1", vocab.Type_LOGIN, "e-1")
	if event != k.Event(privacyfilter.History, "u:1", vocab.Type_LOGIN, "e-1") {
		t.Error("not deterministic")
	}
	of, err := k.OpenEvent(privacyfilter.History, "u:1", event[:])
	if err != nil || of != k.EventHash("u:1", vocab.Type_LOGIN, "e-1") {
		t.Errorf("opened %x, %v", of, err)
	}
	if k.EventOf(privacyfilter.Risk, of) != k.Event(privacyfilter.Risk, "u:1", vocab.Type_LOGIN, "e-1") {
		t.Error("what one purpose's event opens to does not give another's")
	}
	broken := bytes.Clone(event[:])
	broken[0] ^= 1
	for name, c := range map[string]struct {
		subject string
		event   []byte
	}{
		"another subject": {"u:2", event[:]}, "broken": {"u:1", broken}, "empty": {"u:1", nil}, "short": {"u:1", event[:7]}, "long": {"u:1", append(event[:], 0)},
	} {
		if _, err := k.OpenEvent(privacyfilter.History, c.subject, c.event); !errors.Is(err, ErrNotOurs) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := k.OpenEvent(privacyfilter.Risk, "u:1", event[:]); !errors.Is(err, ErrNotOurs) {
		t.Errorf("another purpose's key opens it: %v", err)
	}
	if event == New(seal.NewKeyring([32]byte{2})).Event(privacyfilter.History, "u:1", vocab.Type_LOGIN, "e-1") {
		t.Error("two deployments share pseudonyms")
	}
}

func TestHash(t *testing.T) {
	if got := Hash([]byte{0, 0, 0, 0, 0, 0, 1, 2, 9}); got != 258 {
		t.Errorf("got %d", got)
	}
	if got := Hash([]byte{1}); got != 0 {
		t.Errorf("short: got %d", got)
	}
}

func BenchmarkSubject(b *testing.B) {
	k := New(seal.NewKeyring([32]byte{1}))
	var subject []byte
	b.ReportAllocs()
	for b.Loop() {
		subject = k.AppendSubject(subject[:0], privacyfilter.Personalize, "u:customer-4711", 0)
	}
}

func BenchmarkEvent(b *testing.B) {
	k := New(seal.NewKeyring([32]byte{1}))
	of := k.EventHash("u:customer-4711", vocab.Type_PAYMENT, "0f8fad5b-d9cb-469f-a165-70867728950e")
	var event []byte
	b.ReportAllocs()
	for b.Loop() {
		event = k.AppendEvent(event[:0], privacyfilter.Personalize, of)
	}
}
