package collector

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/ingest"
	"sluice/internal/canonical"
	"sluice/internal/httpx"
	"sluice/internal/stream"
	"sluice/internal/topics"
)

const itemLinger = 2 * time.Millisecond

// postItems is POST /v1/items.
func (c *Collector) postItems(w http.ResponseWriter, r *http.Request) {
	if _, problem := c.callerOf(r, httpx.RoleServer); problem != nil {
		httpx.WriteProblem(w, problem)
		return
	}
	body, problem := c.read(w, r, typeNDJSON, typeJSON)
	if problem != nil {
		httpx.WriteProblem(w, problem)
		return
	}
	defer body.free()
	lines, problem := splitLines(body.text())
	if problem == nil && len(lines) == 0 {
		problem = emptyBody()
	}
	if problem != nil {
		httpx.WriteProblem(w, problem)
		return
	}
	answer, batch, problem := c.takeItems(r.Context(), lines)
	if problem != nil {
		httpx.WriteProblem(w, problem)
		return
	}
	if err := c.produceItems(r.Context(), batch); err != nil {
		c.o.Logger.Error("could not write catalogue items", "items", len(batch.recs), "error", err)
		httpx.WriteProblem(w, unavailable(err))
		return
	}
	c.items.WithLabelValues("accepted").Add(float64(answer.Accepted))
	c.items.WithLabelValues("rejected").Add(float64(answer.Rejected))
	if answer.Accepted > 0 {
		writeJSON(w, http.StatusAccepted, answer)
		return
	}
	writeJSON(w, http.StatusUnprocessableEntity, &itemsRefused{refusal(http.StatusUnprocessableEntity, "rejected", "No item was accepted."), *answer})
}

// takeItems decodes items when the request's turn comes.
func (c *Collector) takeItems(ctx context.Context, lines [][]byte) (*itemsAnswer, *itemBatch, *httpx.Problem) {
	leave, ok := c.enter(ctx)
	if !ok {
		return nil, nil, httpx.Overloaded()
	}
	defer leave()
	answer, batch, err := c.itemRecords(lines)
	if err != nil {
		c.o.Logger.Error("could not encode catalogue items", "items", len(lines), "error", err)
		return nil, nil, unavailable(err)
	}
	return answer, batch, nil
}

// itemBatch is what is written to the catalogue at once.
type itemBatch struct {
	recs []*kgo.Record
	gone []*kgo.Record // of these, those that take an item off lists
}

// itemRecords decodes items and makes the records of the valid ones.
func (c *Collector) itemRecords(lines [][]byte) (*itemsAnswer, *itemBatch, error) {
	answer := &itemsAnswer{Errors: []httpx.FieldError{}, Warnings: []httpx.FieldError{}}
	batch := &itemBatch{recs: make([]*kgo.Record, 0, len(lines))}
	now := c.now().UnixMicro()
	for i, line := range lines {
		item, warnings, fault := ingest.DecodeItem(line)
		if fault != nil {
			answer.Rejected++
			answer.Errors = append(answer.Errors, httpx.FieldError{Index: new(i), Pointer: fault.Pointer, Code: fault.Code, Detail: fault.Detail})
			continue
		}
		for _, w := range warnings {
			if len(answer.Warnings) < maxWarnings {
				answer.Warnings = append(answer.Warnings, httpx.FieldError{Index: new(i), ID: item.ItemId, Pointer: w.Pointer, Code: w.Code, Detail: w.Detail})
			}
		}
		item.UpdatedAt = now
		value, err := item.MarshalVT()
		if err != nil {
			return nil, nil, fmt.Errorf("encoding an item: %w", err)
		}
		answer.Accepted++
		rec := c.itemRecord(item.ItemId, value)
		batch.recs = append(batch.recs, rec)
		if c.o.Lists != nil && !item.AvailableAt(now) && c.o.Lists.Offer(item.ItemId, now) {
			batch.gone = append(batch.gone, rec)
		}
	}
	return answer, batch, nil
}

// itemRecord makes the record of an item; nil removes it.
func (c *Collector) itemRecord(id string, value []byte) *kgo.Record {
	hash := sha256.Sum256([]byte(id))
	return &kgo.Record{Topic: c.o.Cluster.Topic(topics.Items), Partition: c.o.Cluster.PartitionOf(hash[:]), Key: []byte(id), Value: value}
}

// produceItems writes the batch. What it takes off lists is off all of them when it returns: the next answer must not hold it.
func (c *Collector) produceItems(ctx context.Context, batch *itemBatch) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.o.Config.Timeout)
	defer cancel()
	if err := c.catalogue.ProduceSync(ctx, batch.recs...).FirstErr(); err != nil {
		return fmt.Errorf("writing the catalogue: %w", err)
	}
	c.posted.Store(true)
	if c.o.Lists == nil {
		return nil
	}
	for _, rec := range batch.gone {
		if err := c.o.Lists.Obey(ctx, rec.Partition, rec.Offset+1); err != nil {
			return fmt.Errorf("%w: %w", errUnobeyed, err)
		}
	}
	return nil
}

// errUnobeyed is that a change of the catalogue is durable, and not obeyed by all lists yet.
var errUnobeyed = errors.New("not all lists obey the catalogue")

// everPosted tells whether the catalogue ever had an item.
func (c *Collector) everPosted(ctx context.Context) (bool, error) {
	if c.posted.Load() {
		return true, nil
	}
	written, err := stream.Written(ctx, c.o.Cluster, topics.Items)
	if err != nil {
		return false, fmt.Errorf("looking whether there is a catalogue: %w", err)
	}
	if written {
		c.posted.Store(true)
	}
	return written, nil
}

type itemInput struct {
	ID string `path:"id" minLength:"1" maxLength:"256" doc:"The item_id."`
}

// deleteItem is DELETE /v1/items/{id}. Deleting what is not there is done. Where nothing was ever posted lists hold what events name, so a deletion would
// change nothing, and the first record of a catalogue would empty all of them: it is refused.
func (c *Collector) deleteItem(ctx context.Context, in *itemInput) (*struct{}, error) {
	posted, err := c.everPosted(ctx)
	if err != nil {
		c.o.Logger.Error("could not delete a catalogue item", "error", err)
		return nil, unavailable(err)
	}
	if !posted {
		return nil, httpx.NewProblem(http.StatusConflict, "no_catalogue", "Nothing was ever posted to the catalogue, so lists hold what events name. Post the items that lists may hold.")
	}
	recs := []*kgo.Record{c.itemRecord(canonical.Text(in.ID), nil)}
	if err := c.produceItems(ctx, &itemBatch{recs: recs, gone: recs}); err != nil {
		c.o.Logger.Error("could not delete a catalogue item", "error", err)
		return nil, unavailable(err)
	}
	c.items.WithLabelValues("deleted").Inc()
	return nil, nil
}
