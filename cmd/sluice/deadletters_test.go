package main

import (
	"strings"
	"testing"
	"time"

	"sluice/ingest/deadletter"
)

// TestLetterLines: a fault of the row as a whole has no pointer, and leaves no gap for it.
func TestLetterLines(t *testing.T) {
	for pointer, want := range map[string]string{"": "unmapped: no column", "/type": "unmapped /type: no column"} {
		var list, redriven strings.Builder
		meta := deadletter.Meta{
			ID: "00", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Stage: "replay", Source: "r", Position: 5, Code: "unmapped", Pointer: pointer, Detail: "no column",
		}
		printLetter(&list, &meta)
		if line := "00  2026-01-02T03:04:05Z  open     replay   r 5  " + want + "\n"; list.String() != line {
			t.Errorf("list prints %q, want %q", list.String(), line)
		}
		report := deadletter.Report{Failed: 1, Results: []deadletter.Result{{ID: "00", Outcome: "failed", Code: "unmapped", Pointer: pointer, Detail: "no column"}}}
		if err := (&deadLettersRedriveCmd{}).print(&redriven, &report); err != nil {
			t.Fatal(err)
		}
		if line := "00  failed  " + want + "\naccepted 0, duplicate 0, denied 0, failed 1\n"; redriven.String() != line {
			t.Errorf("redrive prints %q, want %q", redriven.String(), line)
		}
	}
}
