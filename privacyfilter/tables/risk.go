package tables

import (
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/internal/warehouse"
	"sluice/privacyfilter"
	"sluice/privacyfilter/purposepb"
)

var riskShape = shapeOf(privacyfilter.Risk)

func riskSource(keep time.Duration) *warehouse.Source {
	return &warehouse.Source{Topic: topics.Risk, Decode: decodeRisk, Tables: []*warehouse.Table{{
		Name: "risk_events",
		Doc: "What fraud control sees: a legal duty, so that no choice deletes it before its time. What was decided about an event is in decisions, under the same " +
			"event pseudonym.",
		Columns: riskShape.columns,
		Time:    "time", Keep: keep, Key: []string{"subject", "event"}, Subject: "subject", Event: "event",
	}}}
}

// riskDecoder is the memory of one record.
type riskDecoder struct {
	record purposepb.RiskRecord
	event  purposepb.RiskEvent
	ids    [16 * idSize]byte
}

var riskDecoders = sync.Pool{New: func() any { return new(riskDecoder) }}

func decodeRisk(rec *stream.Record, out *warehouse.Rows) error {
	d := riskDecoders.Get().(*riskDecoder) //nolint:forcetypeassert // the pool's New makes nothing else
	defer riskDecoders.Put(d)
	e := &d.event
	e.Reset()
	riskShape.lend(d.ids[:], unsafe.Pointer(e))
	d.record.Event = e
	if err := d.record.UnmarshalVT(rec.Value); err != nil {
		return fmt.Errorf("must be a RiskRecord: %w", err)
	}
	if len(e.Subject) == 0 {
		return errors.New("must hold an event")
	}
	return riskShape.put(out.Batches[0], unsafe.Pointer(e))
}
