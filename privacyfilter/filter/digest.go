package filter

import (
	"encoding/binary"

	"sluice/internal/stream"
	"sluice/privacyfilter"
	"sluice/privacyfilter/pseudonym"
)

// Projection is what a state digest compares of the filter. "ledger" holds each subject's choices, decisions, floor times and policy, without revisions. "blocks"
// holds each chunk of a subject's blocks, without revisions. "dedupe" holds subject ‖ hash of every known event, without the hour of receipt. "deletions" holds the
// same of every deleted event, without the day.
func Projection() stream.Projection {
	return func(table byte, key, value []byte, yield func(stream.Pair)) {
		switch table {
		case tableLedger:
			if content := ledgerContent(value); content != nil {
				yield(stream.Pair{Store: "ledger", Key: key, Value: content})
			}
		case tableBlocks:
			if chunk, err := (blocksCodec{}).Decode(value); err == nil {
				yield(stream.Pair{Store: "blocks", Key: key, Value: privacyfilter.AppendBlocks(nil, chunk.Blocks)})
			}
		case tableClock:
			if hour, err := (numberCodec{}).Decode(value); err == nil {
				yield(stream.Pair{Store: stream.Horizon, At: *hour})
			}
		case tableDedupe:
			if h, err := (headCodec{}).Decode(value); err == nil {
				yieldHashes("dedupe", key, h.hashes, h.hour+dedupeHours, yield)
			}
		case tableChunks:
			if c, err := (chunkCodec{}).Decode(value); err == nil && len(key) == chunkKeySize {
				yieldHashes("dedupe", key[:pseudonym.Size], *c, binary.BigEndian.Uint32(key[pseudonym.Size:])+dedupeHours, yield)
			}
		case tableDeletions:
			if d, err := (deletionsCodec{}).Decode(value); err == nil {
				yieldHashes("deletions", key, d.hashes(), 0, yield)
			}
		}
	}
}

// ledgerContent is the row without its places in the log, nil if it cannot be read.
func ledgerContent(value []byte) []byte {
	row, err := privacyfilter.ParseRow(value)
	if err != nil {
		return nil
	}
	row.Revision, row.PolicyAt = nil, nil
	for _, s := range row.Purposes {
		s.Floor, s.Denied = nil, nil
	}
	content, err := row.MarshalVT()
	if err != nil {
		return nil
	}
	return content
}

// yieldHashes hands over what is known until the end of an hour, 0 = until it is removed.
func yieldHashes(store string, subject []byte, hashes chunk, last uint32, yield func(stream.Pair)) {
	for _, hash := range hashes {
		key := binary.BigEndian.AppendUint64(append([]byte(nil), subject...), hash)
		yield(stream.Pair{Store: store, Key: key, At: int64(last)})
	}
}
