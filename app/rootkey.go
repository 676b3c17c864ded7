package app

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/stream"
	"sluice/internal/topics"
)

// checkRootKey notes the root key of new topics by its fingerprint, and refuses another one: to it every person would be a stranger, and what it wrote could not be
// read by the other nodes. Of nodes that note different keys at the same moment the first on the topic is right, and the others take theirs back.
func (n *Node) checkRootKey(ctx context.Context, fingerprint string) error {
	first, err := n.notedKey(ctx)
	if err != nil {
		return err
	}
	noted := first == ""
	if noted {
		if err := n.noteKey(ctx, fingerprint, []byte(fingerprint)); err != nil {
			return err
		}
		if first, err = n.notedKey(ctx); err != nil {
			return err
		}
	}
	if first == fingerprint {
		return nil
	}
	if noted {
		if err := n.noteKey(ctx, fingerprint, nil); err != nil {
			return err
		}
	}
	return fmt.Errorf("topics %s…: the root key must be the one that they were written with (fingerprint %s, not %s)", n.cluster.Prefix, first, fingerprint)
}

// rootKeyPrefix begins the key of a record that notes a root key.
const rootKeyPrefix = "root_key/"

// notedKey is the fingerprint of the root key that the topics were written with, empty if none is noted.
func (n *Node) notedKey(ctx context.Context) (fingerprint string, err error) {
	var noted []string // in the order of the topic
	err = stream.ReadAll(ctx, n.cluster, topics.Deployment, func(recs []stream.Record) {
		for _, rec := range recs {
			found, ok := strings.CutPrefix(string(rec.Key), rootKeyPrefix)
			switch there := slices.Contains(noted, found); {
			case !ok:
			case rec.Value == nil:
				noted = slices.DeleteFunc(noted, func(other string) bool { return other == found })
			case !there:
				noted = append(noted, found)
			}
		}
	})
	if err != nil {
		return "", fmt.Errorf("reading which root key the topics were written with: %w", err)
	}
	if len(noted) == 0 {
		return "", nil
	}
	return noted[0], nil
}

// noteKey writes the fingerprint; nil takes it back.
func (n *Node) noteKey(ctx context.Context, fingerprint string, value []byte) error {
	client, err := n.cluster.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	record := &kgo.Record{Topic: n.cluster.Topic(topics.Deployment), Key: []byte(rootKeyPrefix + fingerprint), Value: value}
	if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
		return fmt.Errorf("noting the root key on %s: %w", record.Topic, err)
	}
	return nil
}
