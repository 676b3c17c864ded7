package app

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"sluice/internal/broker/brokertest"
)

// TestRootKeyOfTheTopics: the first node notes its root key; nodes with the same one start, and another is refused in one line that tells both fingerprints.
func TestRootKeyOfTheTopics(t *testing.T) {
	cluster, _ := brokertest.Stoppable(t)
	node := func() *Node { return &Node{cluster: cluster} }
	for range 2 {
		if err := node().checkRootKey(t.Context(), "aa11"); err != nil {
			t.Fatal(err)
		}
	}
	err := node().checkRootKey(t.Context(), "bb22")
	if err == nil || !strings.Contains(err.Error(), "the root key must be the one that they were written with (fingerprint aa11, not bb22)") || strings.Contains(err.Error(), "\n") {
		t.Errorf("another key: %v", err)
	}
	if noted, err := node().notedKey(t.Context()); err != nil || noted != "aa11" {
		t.Errorf("noted %q, %v", noted, err)
	}
}

// TestRootKeysAtOnce: of nodes that start at once with different root keys, those with one of them start, and they go on doing so.
func TestRootKeysAtOnce(t *testing.T) {
	cluster, _ := brokertest.Stoppable(t)
	keys := []string{"a", "b", "c", "a", "b", "c"}
	refused := make([]error, len(keys))
	var wg sync.WaitGroup
	for i, key := range keys {
		wg.Go(func() { refused[i] = (&Node{cluster: cluster}).checkRootKey(t.Context(), key) })
	}
	wg.Wait()
	var started []string
	for i, key := range keys {
		if refused[i] == nil {
			started = append(started, key)
		}
	}
	slices.Sort(started)
	if started = slices.Compact(started); len(started) != 1 {
		t.Fatalf("nodes with the keys %v have started", started)
	}
	for _, key := range keys[:3] {
		if err := (&Node{cluster: cluster}).checkRootKey(t.Context(), key); (err == nil) != (key == started[0]) {
			t.Errorf("%s, where %s has started: %v", key, started[0], err)
		}
	}
}
