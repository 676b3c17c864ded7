package record

import (
	"encoding/binary"

	"sluice/internal/stream"
)

// Projection compares the entries of people's lists in a store, wherever they stand: neither floors nor chunks.
func Projection(store string, lists int) stream.Projection {
	return func(table byte, key, value []byte, yield func(stream.Pair)) {
		r := reader{data: value}
		switch {
		case table == ClockTable:
			yield(HorizonPair(value))
		case table == ChunkTable && len(key) > chunkBytes:
			yieldEntries(store, key[:len(key)-chunkBytes], r.entries(nil), yield)
		case table == Table:
			var h Head
			if h.decode(&r, lists) != nil {
				return
			}
			for at := range h.Lists {
				yieldEntries(store, append(append([]byte(nil), key...), byte(at)), h.Lists[at].Tail, yield)
			}
		}
	}
}

// yieldEntries yields the entries of the list with the key subject ‖ list.
func yieldEntries(store string, list []byte, entries []Entry, yield func(stream.Pair)) {
	for i := range entries {
		e := &entries[i]
		key := appendBytes(binary.BigEndian.AppendUint64(append([]byte(nil), list...), uint64(e.Time)), e.ID)
		yield(stream.Pair{Store: store, Key: key, Value: e.Body, At: e.Time})
	}
}

// HorizonPair is the horizon of a clock's record.
func HorizonPair(value []byte) stream.Pair {
	return stream.Pair{Store: stream.Horizon, At: HorizonOf(value)}
}
