package privacyfilter

import (
	"math"
	"testing"

	"sluice/internal/seal"
)

// TestRevisions: a revision is read for the subject that it was made for, by every node of the deployment, and nothing else is.
func TestRevisions(t *testing.T) {
	ring := seal.NewKeyring([32]byte{7})
	ours, node, theirs := NewRevisions(ring), NewRevisions(seal.NewKeyring([32]byte{7})), NewRevisions(seal.NewKeyring([32]byte{8}))
	at := Revision{Generation: 1, Partition: 5, Offset: 4711}
	text := ours.Text(at, "u:ada")
	if len(text) != RevisionText || text != node.Text(at, "u:", "ada") {
		t.Errorf("%q, and %q on another node", text, node.Text(at, "u:ada"))
	}
	if got, ok := node.Read(text, "u:", "ada"); !ok || got != at {
		t.Errorf("read as %s, %v", got, ok)
	}
	if place, ok := ours.Place(text, "u:", "ada"); !ok || place != "1-5-4711" {
		t.Errorf("place %q, %v", place, ok)
	}
	if got := ours.Text(Revision{}, "u:ada"); got != "" {
		t.Errorf("none is %q", got)
	}
	newer := at
	newer.Offset += 1 << 8
	for name, c := range map[string]struct{ text, subject string }{
		"another person's":                   {text, "u:bea"},
		"the visitor's of the same id":       {text, "a:ada"},
		"a longer id":                        {text, "u:ada1"},
		"nobody's":                           {text, ""},
		"a plain place":                      {at.String(), "u:ada"},
		"empty":                              {"", "u:ada"},
		"another deployment's":               {theirs.Text(at, "u:ada"), "u:ada"},
		"the next place under the old sum":   {ours.Text(newer, "u:ada")[:18] + text[18:], "u:ada"},
		"padded":                             {text[:31] + "=", "u:ada"},
		"with a line's end":                  {text[:31] + "\n", "u:ada"},
		"longer":                             {text + "A", "u:ada"},
		"shorter":                            {text[:31], "u:ada"},
		"of bytes that base64 does not have": {text[:31] + "\xff", "u:ada"},
	} {
		if got, ok := ours.Read(c.text, c.subject); ok || !got.IsZero() {
			t.Errorf("%s is read as %s", name, got)
		}
		if place, ok := ours.Place(c.text, c.subject, ""); ok || place != "" {
			t.Errorf("%s stands at %q", name, place)
		}
	}
	for i := range text {
		for _, c := range []byte("A_z9") {
			if altered := text[:i] + string(c) + text[i+1:]; altered != text {
				if got, ok := ours.Read(altered, "u:ada"); ok {
					t.Fatalf("with %c at %d it is read as %s", c, i, got)
				}
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { ours.Read(text, "u:", "ada") }); n > 0 {
		t.Errorf("reading allocates %v times", n)
	}
}

// FuzzRevision: no text is read as a revision but the one that was made for the place and subject.
func FuzzRevision(f *testing.F) {
	r := NewRevisions(seal.NewKeyring([32]byte{7}))
	f.Add(r.Text(Revision{1, 5, 4711}, "u:ada"), "u:", "ada")
	f.Add(r.Text(Revision{math.MaxUint32, 15, math.MaxInt64}, "a:v"), "a:", "v")
	f.Add("1-5-4711", "u:", "ada")
	f.Fuzz(func(t *testing.T, text, kind, id string) {
		at, ok := r.Read(text, kind, id)
		if ok != (r.Text(at, kind+id) == text && !at.IsZero()) {
			t.Errorf("%q of %q is read as %s, %v", text, kind+id, at, ok)
		}
		if place, also := r.Place(text, kind, id); also != ok || ok && place != at.String() {
			t.Errorf("%q stands at %q, %v", text, place, also)
		}
	})
}

func BenchmarkRevisionsRead(b *testing.B) {
	r := NewRevisions(seal.NewKeyring([32]byte{7}))
	text := r.Text(Revision{1, 5, 4711}, "u:customer-004711")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := r.Read(text, "u:", "customer-004711"); !ok {
			b.Fatal("not read")
		}
	}
}
