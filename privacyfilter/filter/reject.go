package filter

import (
	"errors"
	"strconv"

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
		return &fault{"unknown_key", "a sealing key of this deployment expected"}
	}
	return &fault{"not_authentic", "a body sealed for this record's key expected"}
}

// reject makes a sealed dead letter of the record, in the same transaction, and books it. A replay's row has no bits for this: it is settled as denied,
// so that the run ends, and the letter says more.
func (f *filter) reject(rec *stream.Record, lr *eventpb.LogRecord, why fault) error {
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
	if lr.Kind == eventpb.LogRecord_CONTROL {
		f.controls.WithLabelValues("unknown", "rejected").Inc()
		return nil
	}
	f.settleRow(lr, rowDenied)
	f.counts.count(rejected)
	return nil
}
