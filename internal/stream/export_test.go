package stream

import (
	"context"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Look is one look at the log, as Run makes them.
func (b *Backlog) Look(ctx context.Context) error {
	client, err := b.cluster.Client()
	if err != nil {
		return err
	}
	defer client.Close()
	return b.look(ctx, kadm.NewClient(client))
}
