package collector

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/ingest"
	"sluice/internal/canonical"
	"sluice/internal/httpx"
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
	answer, recs, problem := c.takeItems(r.Context(), lines)
	if problem != nil {
		httpx.WriteProblem(w, problem)
		return
	}
	if err := c.produceItems(r.Context(), recs); err != nil {
		c.o.Logger.Error("could not write catalogue items", "items", len(recs), "error", err)
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
func (c *Collector) takeItems(ctx context.Context, lines [][]byte) (*itemsAnswer, []*kgo.Record, *httpx.Problem) {
	leave, ok := c.enter(ctx)
	if !ok {
		return nil, nil, httpx.Overloaded()
	}
	defer leave()
	answer, recs, err := c.itemRecords(lines)
	if err != nil {
		c.o.Logger.Error("could not encode catalogue items", "items", len(lines), "error", err)
		return nil, nil, unavailable(err)
	}
	return answer, recs, nil
}

// itemRecords decodes items and makes the records of the valid ones.
func (c *Collector) itemRecords(lines [][]byte) (*itemsAnswer, []*kgo.Record, error) {
	answer := &itemsAnswer{Errors: []httpx.FieldError{}, Warnings: []httpx.FieldError{}}
	recs := make([]*kgo.Record, 0, len(lines))
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
		recs = append(recs, c.itemRecord(item.ItemId, value))
	}
	return answer, recs, nil
}

// itemRecord makes the record of an item; nil removes it.
func (c *Collector) itemRecord(id string, value []byte) *kgo.Record {
	hash := sha256.Sum256([]byte(id))
	return &kgo.Record{Topic: c.o.Cluster.Topic(topics.Items), Partition: c.o.Cluster.PartitionOf(hash[:]), Key: []byte(id), Value: value}
}

func (c *Collector) produceItems(ctx context.Context, recs []*kgo.Record) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.o.Config.Timeout)
	defer cancel()
	if err := c.catalogue.ProduceSync(ctx, recs...).FirstErr(); err != nil {
		return fmt.Errorf("writing the catalogue: %w", err)
	}
	return nil
}

type itemInput struct {
	ID string `path:"id" minLength:"1" maxLength:"256" doc:"The item_id."`
}

// deleteItem is DELETE /v1/items/{id}. Deleting what is not there is done.
func (c *Collector) deleteItem(ctx context.Context, in *itemInput) (*struct{}, error) {
	if err := c.produceItems(ctx, []*kgo.Record{c.itemRecord(canonical.Text(in.ID), nil)}); err != nil {
		c.o.Logger.Error("could not delete a catalogue item", "error", err)
		return nil, unavailable(err)
	}
	c.items.WithLabelValues("deleted").Inc()
	return nil, nil
}
