package main

import (
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// TestCommandLine: each test takes the flags that all have, and its own.
func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{
		{"crash", "--broker", "kafka", "--faults", "7", "--only", "stall front.*kafka", "--seed", "3"},
		{"optout", "--brokers", "1", "--max", "6m", "--dir", "somewhere"},
		{"cluster", "--events", "250", "--requests", "50", "--phase", "12s", "--out", "file"},
		{"warehouse", "--events", "file", "--away", "5m", "--sluice", "sluice"},
	} {
		var commands cli
		parser, err := kong.New(&commands)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(args); err != nil {
			t.Errorf("%v: %v", args, err)
		}
		if args[0] == "crash" && (commands.Crash.Faults != 7 || commands.Crash.Seed != 3 || commands.Crash.Max != 45*time.Minute || commands.Crash.Sluice != "bin/sluice") {
			t.Errorf("%+v", commands.Crash)
		}
	}
}
