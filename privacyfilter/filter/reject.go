package filter

import (
	"errors"
	"strconv"

	"sluice/ingest"
	"sluice/ingest/deadletter"
	"sluice/ingest/eventpb"
	"sluice/internal/seal"
	"sluice/internal/stream"
	"sluice/internal/topics"
)

// fault is why a record could not be used. It never holds a value.
type fault struct{ code, detail string }

func sealedFault(err error) *fault {
	if errors.Is(err, seal.ErrUnknownKey) {
		return &fault{"unknown_key", "must be sealed with a key of this deployment"}
	}
	return &fault{"not_authentic", "the body must be sealed for this record's key"}
}

// reject makes a sealed dead letter of the record, in the same transaction, and books it.
func (f *filter) reject(rec *stream.Record, lr *eventpb.LogRecord, why fault) error {
	if err := f.write(rec, lr, why); err != nil {
		return err
	}
	if lr.Kind == eventpb.LogRecord_CONTROL {
		f.controls.WithLabelValues("unknown", "rejected").Inc()
		return nil
	}
	f.settleRow(lr, rowRejected)
	f.counts.count(rejected)
	return nil
}

// rejectExpired makes a dead letter of an event that every purpose would let go at once. It is remembered like an accepted one, which it would have been had it
// come earlier: what is known in the end does not depend on the order.
func (f *filter) rejectExpired(rec *stream.Record, lr *eventpb.LogRecord) error {
	if err := f.write(rec, lr, fault{ingest.CodeExpired, "must be within the time for which some purpose keeps such events"}); err != nil {
		return err
	}
	f.remember(rec.Key, lr.Dedupe, hourOf(lr.ReceivedAt))
	f.settleRow(lr, rowRejected)
	f.counts.events[rejected]++
	return nil
}

// write emits the dead letter of a record.
func (f *filter) write(rec *stream.Record, lr *eventpb.LogRecord, why fault) error {
	received := lr.ReceivedAt
	if received == 0 {
		received = rec.Time.UnixMicro()
	}
	letter := deadletter.Letter{
		Stage: deadletter.StageFilter, Code: why.code, Detail: why.detail, Time: received, Payload: rec.Value,
		Source: rec.Topic + "/" + strconv.Itoa(int(rec.Partition)), Position: uint64(rec.Offset), Index: uint32(rec.Index),
	}
	key, value, err := letter.Record(f.Ring)
	if err != nil {
		return err
	}
	f.task.Emit(topics.DeadLetters, f.task.PartitionOf(key), key, value)
	return nil
}
