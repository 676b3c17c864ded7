package warehouse

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/stream"
	"sluice/internal/warehouse"
	"sluice/systemtest/run"
)

// group looks at the warehouse's consumer group from outside.
type group struct {
	client *kgo.Client
	admin  *kadm.Client
	name   string
	topics []string
}

func newGroup(cluster stream.Cluster, sources []*warehouse.Source) (*group, error) {
	client, err := cluster.Client()
	if err != nil {
		return nil, err
	}
	g := &group{client: client, admin: kadm.NewClient(client), name: cluster.Topic(warehouse.Group)}
	for _, s := range sources {
		g.topics = append(g.topics, cluster.Topic(s.Topic))
	}
	return g, nil
}

func (g *group) close() error {
	g.client.Close()
	return nil
}

// ends are where the topics end now.
func (g *group) ends(ctx context.Context) (kadm.ListedOffsets, error) {
	ends, err := g.admin.ListEndOffsets(ctx, g.topics...)
	if err != nil {
		return nil, err
	}
	return ends, ends.Error()
}

// committed is what the group has committed, nothing if there is no group.
func (g *group) committed(ctx context.Context) (kadm.OffsetResponses, error) {
	offsets, err := g.admin.FetchOffsets(ctx, g.name)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return offsets, offsets.Error()
}

// behind counts the records below the ends that are not stored, transaction markers included.
func (g *group) behind(ctx context.Context, ends kadm.ListedOffsets) (behind int64, err error) {
	committed, err := g.committed(ctx)
	if err != nil {
		return 0, err
	}
	ends.Each(func(o kadm.ListedOffset) {
		at := int64(0)
		if c, ok := committed.Lookup(o.Topic, o.Partition); ok {
			at = max(0, c.At)
		}
		behind += max(0, o.Offset-at)
	})
	return behind, nil
}

// promisePrefix marks metadata of an offset that says where the blocks under way end.
const promisePrefix = "next="

// promise is what the group has committed while it has blocks, stretches of offsets, on their way into the store.
type promise struct {
	committed kadm.OffsetResponses
	blocks    int
}

// promised are the blocks that are on their way into the store at this moment.
func (g *group) promised(ctx context.Context) (p promise, err error) {
	if p.committed, err = g.committed(ctx); err != nil {
		return p, err
	}
	p.committed.Each(func(o kadm.OffsetResponse) {
		if bounds, ok := strings.CutPrefix(o.Metadata, promisePrefix); ok {
			p.blocks += 1 + strings.Count(bounds, ",")
		}
	})
	return p, nil
}

// forget lets the group begin anew: whoever joins it next reads the topics from their beginnings. Its members must have ended; it takes until their
// session times out.
func (g *group) forget(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		_, err := g.admin.DeleteGroup(ctx, g.name)
		if err == nil || errors.Is(err, kerr.GroupIDNotFound) {
			return nil
		}
		if !run.Sleep(ctx, 500*time.Millisecond) {
			return fmt.Errorf("deleting the group %s: %w", g.name, err)
		}
	}
}
